"""The base of the scenarios: the world of a seed, its processes, and the faults at single callbacks."""

from __future__ import annotations

import asyncio
import fcntl
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

from rivya_async import (
    Generation,
    PollPolicy,
    RateLimit,
    RetryPolicy,
    RivyaSession,
)
from rivya_async._engine.transfers import partial_file

from .faults import Fault, FaultPlan
from .invariants import Monitor, SessionMonitor
from .network import Network, SimulatedTransport
from .service import API_KEY, BASE_URL, Service
from .simulator import Process, SimulationFailure, Simulator, location
from .webhooks import Webhooks

MEMORY_FOLDER: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None

MAX_CANCEL_SECONDS: Final = 5.0
"""Virtual seconds in which a cancelled call ends."""

DOWNTIMES: Final = (0.0, 0.5, 5.0, 60.0, 600.0)


class Scenario:
    """The base: the world of a seed, its processes, and the faults at single callbacks."""

    name = ""

    def __init__(self, simulator: Simulator, plan: FaultPlan) -> None:
        self.simulator = simulator
        self.plan = plan
        self.rng = rng = random.Random(f"{simulator.seed}/scenario")
        self.speed = rng.choice([0.5, 1.0, 5.0, 50.0, 500.0])
        self.failure_rate = rng.choice([0.0, 0.0, 0.2])
        self.has_webhooks = rng.random() < 0.4
        self.timeout = rng.choice([5.0, 20.0, 60.0])
        self.poll = rng.choice(
            [
                PollPolicy(),
                PollPolicy(adaptive=False),
                PollPolicy(first=0.1, base=0.2, cap=2.0, floor=0.1, adaptive=False),
            ]
        )
        self.retry = rng.choice([RetryPolicy(), RetryPolicy(max_attempts=2), RetryPolicy(base=0.05, cap=2.0)])
        rate = rng.choice([None, None, 2.0, 20.0])
        self.rate_limit = None if rate is None else RateLimit(rate)
        self.jobs_limit = rng.choice([None, None, None, 2])
        self.link_lifetime = rng.choice([None, None, 30.0])
        self.monitor = Monitor(simulator)
        service_rate = rng.choice([None, None, None, 30, 120])
        self.service = self.monitor.service = Service(
            simulator,
            speed=self.speed,
            failure_rate=self.failure_rate,
            rate_limit=service_rate,
            rate_window=rng.choice([1.0, 10.0, 60.0]),
            jobs_limit=self.jobs_limit,
            link_lifetime=self.link_lifetime,
        )
        self.network = Network(simulator, self.service, plan, self.monitor)
        self.webhooks = Webhooks(self.network) if self.has_webhooks else None
        self.folder: Path | None = None
        self.has_died = False
        self.cancellable: dict[Process, dict[asyncio.Task[Any], None]] = {}
        self.files_of: dict[Process, list[Any]] = {}
        simulator.after_step = self.monitor.check_step
        for fault in plan.at_steps:
            simulator.at_step(fault.at, partial(self._meet, fault))

    # --- to be implemented --------------------------------------------------------------------------------------------

    def start(self) -> None:
        raise NotImplementedError

    def spawn(self, number: int) -> None:
        """Starts the process with this number, again after its death."""
        raise NotImplementedError

    def is_done(self) -> bool:
        raise NotImplementedError

    def check_end(self) -> None:
        raise NotImplementedError

    # --- faults -------------------------------------------------------------------------------------------------------

    def _meet(self, fault: Fault) -> None:
        processes = [process for process in self.simulator.processes if process.is_alive]
        if not processes or self.is_done():
            return
        process = processes[int(fault.value * len(processes))]
        if self.apply(fault, process, fault.value * len(processes) % 1.0):
            self.network.note(fault)

    def apply(self, fault: Fault, process: Process, value: float) -> bool:
        """Applies a fault to a process; returns False where it does not fit."""
        now = self.simulator.now
        match fault.kind:
            case "cancel":
                return self._cancel(process, value)
            case "death":
                self._kill(process, value)
            case "pause":
                process.paused_until = now + value * 20.0
            case "clock of the service":
                self.service.clock_offset += (value - 0.5) * 1_200.0
            case "clock of a process":
                process.clock_skew += (value - 0.5) * 1_200.0
            case "outage":
                self.network.outage_until = now + value**3 * 600.0
            case _:
                return False
        return True

    def _cancel(self, process: Process, value: float) -> bool:
        tasks = [task for task in self.cancellable.get(process, ()) if not task.done()]
        if not tasks:
            return False
        task = tasks[int(value * len(tasks))]
        self.simulator.coverage[f"cancelled at {location(task)}"] += 1
        task.cancel()

        def check() -> None:
            if process.is_alive and process.paused_until <= self.simulator.now and not task.done():
                if process.paused_until > self.simulator.now - MAX_CANCEL_SECONDS:
                    self.simulator.schedule(self.simulator.now + MAX_CANCEL_SECONDS, check)
                else:
                    self.simulator.fail("a cancelled call ends", location(task))

        self.simulator.schedule(self.simulator.now + MAX_CANCEL_SECONDS, check)
        return True

    def _kill(self, process: Process, value: float) -> None:
        for task in process.loop.open_tasks():
            self.simulator.coverage[f"crashed at {location(task)}"] += 1
        self.has_died = True
        self.simulator.end_process(process)
        for file in self.files_of.pop(process, ()):
            if not file.closed:
                fcntl.flock(file, fcntl.LOCK_UN)
        for transport in list(self.monitor.sessions):
            if transport.process is process:
                del self.monitor.sessions[transport]
        if self.webhooks is not None:
            self.webhooks.receivers.pop(process, None)
        self.on_death(process)
        number = int(process.name.split("-")[1])
        downtime = self.draw_downtime(value)
        self.simulator.schedule(self.simulator.now + downtime, lambda: self.spawn(number))

    def draw_downtime(self, value: float) -> float:
        return DOWNTIMES[int(value * 100 % 1 * len(DOWNTIMES))]

    def on_death(self, process: Process) -> None:
        """Called after the death of a process."""

    # --- helpers ------------------------------------------------------------------------------------------------------

    def create_process(self, number: int) -> Process:
        process = self.simulator.create_process(f"process-{number}")
        self.cancellable[process] = {}
        self.files_of[process] = []
        return process

    def open_session(self, process: Process, **options: Any) -> tuple[RivyaSession, SimulatedTransport, SessionMonitor]:
        transport = SimulatedTransport(self.network, process, self.timeout)
        session = RivyaSession(
            API_KEY,
            base_url=BASE_URL,
            transport=transport,
            poll=self.poll,
            retry=self.retry,
            rate_limit=self.rate_limit,
            **options,
        )
        monitor = self.monitor.sessions[transport] = SessionMonitor(
            session,
            self.poll,
            self.retry,
            self.rate_limit,
            options.get("max_reserved"),
            has_webhooks=self.has_webhooks,
        )
        process.on_death.append(lambda: _detach(session))
        if self.webhooks is not None:
            session.generations.expect_deliveries()
            self.webhooks.receivers[process] = partial(self._settle, session, monitor)
        return session, transport, monitor

    def _settle(self, session: RivyaSession, monitor: SessionMonitor, generation: Generation) -> None:
        if not session._closed:
            session.generations.settle(generation)
            self.monitor.on_settled(monitor, generation)

    def close_session(self, process: Process, transport: SimulatedTransport) -> None:
        if self.webhooks is not None:
            self.webhooks.receivers.pop(process, None)
        self.monitor.check_closed(transport)

    def create_folder(self) -> Path:
        self.folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=MEMORY_FOLDER))
        return self.folder

    def check_file(self, path: Path, task_id: str) -> None:
        """Checks that a file is one version of the result, and not parts of two."""
        files = self.service.files
        versions = [files.content(task_id, version) for version in range(files.version[task_id] + 1)]
        if path.read_bytes() not in versions:
            raise SimulationFailure("a saved file is one version of the result", f"{task_id}: {len(versions)} versions")

    def record_files(self) -> Any:
        """Records the locked files of each process, whose locks end with it."""
        open_locked = partial_file._open_locked

        def record(path: Path) -> Any:
            file = open_locked(path)
            process = self.simulator.current
            if file is not None and process is not None and process in self.files_of:
                self.files_of[process].append(file)
            return file

        return mock.patch.object(partial_file, "_open_locked", record)

    def cover(self, state: str) -> None:
        self.simulator.coverage[f"state: {state}"] += 1


def _detach(session: RivyaSession) -> None:
    if session._engine is not None:
        session._finalizer.detach()
