"""The scenarios, and the simulation of one seed."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs

from rivya_async.testing.virtual_time import START

from .batch_scenario import BatchScenario
from .faults import Fault, FaultPlan, draw_faults
from .scenario import Scenario
from .session_scenario import SessionScenario
from .simulator import SimulationFailure, simulation
from .worker_scenario import WorkerScenario

HORIZON: Final = 5 * 86_400.0
"""Virtual seconds after which everything must have ended: the longest pauses are of a day."""

SCENARIOS: Final[Sequence[type[Scenario]]] = (SessionScenario, SessionScenario, BatchScenario, WorkerScenario)


@attrs.define
class Outcome:
    """The result of one seed: its failure, if any, its trace and its coverage."""

    seed: int
    scenario: str
    failure: SimulationFailure | None
    trace: int
    steps: int
    events: int
    seconds: float
    """Virtual seconds."""
    applied: Sequence[Fault]
    coverage: Counter[str]
    log: Sequence[str]


def run_seed(seed: int, faults: Sequence[Fault] | None = None, *, verbose: bool = False) -> Outcome:
    """Simulates one seed, with its own faults or with these."""
    plan = FaultPlan(draw_faults(seed) if faults is None else faults)
    kind = SCENARIOS[random.Random(f"{seed}/kind").randrange(len(SCENARIOS))]
    failure, scenario = None, None
    with simulation(seed) as simulator:
        simulator.log = [] if verbose else None
        try:
            scenario = kind(simulator, plan)
            with scenario.record_files():
                scenario.start()
                simulator.run(scenario.is_done, START + HORIZON)
                scenario.check_end()
                if simulator.failure is not None:
                    raise simulator.failure
        except SimulationFailure as error:
            failure = error
        finally:
            simulator.after_step = lambda: None
    if scenario is not None and scenario.folder is not None:
        shutil.rmtree(scenario.folder)
    return Outcome(
        seed=seed,
        scenario=kind.name,
        failure=failure,
        trace=simulator.trace,
        steps=simulator.steps,
        events=simulator.event_count,
        seconds=simulator.now - START,
        applied=plan.applied,
        coverage=simulator.coverage,
        log=simulator.log or (),
    )
