"""Comparison of poll policies on stationary and disturbed durations, at the default price and at equal latency."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from rivya_async._core.polling.intervals import POLL_COST

from .poll_policies import AdvisedPolicy, BackoffPolicy, FixedPolicy, LearnedPolicy
from .report import show_progress
from .simulation import PollStats, compute_optimal_ages, make_lognormal_durations, shuffle, simulate, summarize

MEDIAN: Final = 30.0
"""Median duration in seconds; the mean is greater by exp(sigma ** 2 / 2)."""

SIGMAS: Final = (0.3, 0.6, 1.0)
HISTORIES: Final = (20, 50)
ADVICE: Final = "the service's advice"

DISTURBED_RUN_JOBS: Final = 200
"""Jobs of a disturbed run, which starts without learned durations."""

Disturbance = Callable[[Sequence[float], random.Random], list[float]]


def _doubled(durations: Sequence[float], _rng: random.Random) -> list[float]:
    half = len(durations) // 2
    return [*durations[:half], *(2.0 * each for each in durations[half:])]


def _early(durations: Sequence[float], rng: random.Random) -> list[float]:
    return [each * rng.uniform(0.0, 0.5) if rng.random() < 0.2 else each for each in durations]


def _heavy(durations: Sequence[float], rng: random.Random) -> list[float]:
    return [each * 6.0 if rng.random() < 0.05 else each for each in durations]


DISTURBANCES: Final[dict[str, Disturbance]] = {
    "the median doubles half-way": _doubled,
    "20 % end early": _early,
    "5 % take six times as long": _heavy,
}


class SimulationSize(NamedTuple):
    """Number of histories and jobs of a simulation."""

    histories: int
    jobs: int

    @classmethod
    def of(cls, *, quick: bool) -> SimulationSize:
        """Returns a tenth of the size if `quick`: the targets are then not reliable."""
        return cls(40, 1_200) if quick else cls(400, 12_000)


def learned_label(history: int) -> str:
    """Returns the label of the learned schedule after a number of jobs."""
    return f"learned, after {history} jobs"


def simulate_learned(
    sigma: float, history: int, size: SimulationSize, scale: float = 1.0, median: float = MEDIAN
) -> PollStats:
    """Simulates the learned schedule, frozen after `history` jobs; returns the mean over many histories."""
    jobs = shuffle(make_lognormal_durations(median, sigma, size.jobs), seed=2)
    results = []
    for n, policy in enumerate(_train_policies(sigma, history, size.histories, median)):
        policy.scale = scale
        results += simulate(policy, jobs[n :: size.histories], seed=n)
    return summarize(results)


@functools.cache
def _train_policies(sigma: float, history: int, histories: int, median: float) -> Sequence[LearnedPolicy]:
    durations = shuffle(make_lognormal_durations(median, sigma, histories * history), seed=1)
    policies = [LearnedPolicy() for _ in range(histories)]
    for n, policy in enumerate(policies):
        simulate(policy, durations[n::histories], seed=n)
        policy.learns = False
    return policies


def scale_to_latency(latency: float, simulate_scaled: Callable[[float], PollStats]) -> PollStats:
    """Scales a policy to a mean latency and returns its result."""
    low, high = math.log(0.1), math.log(10.0)
    for _ in range(10):
        middle = (low + high) / 2.0
        low, high = (middle, high) if simulate_scaled(math.exp(middle)).latency < latency else (low, middle)
    return simulate_scaled(math.exp(low))


def simulate_optimum(durations: Sequence[float], price: float) -> PollStats:
    """Simulates the optimum for the known distribution."""
    return summarize(simulate(FixedPolicy(compute_optimal_ages(durations, price)), durations))


class StationaryResult(NamedTuple):
    """Results of all policies for one sigma."""

    sigma: float
    mean: float
    optimum: PollStats
    optimum_at_advice: PollStats
    policies: dict[str, PollStats]
    learned_at_advice: PollStats


def compare_stationary(sigma: float, size: SimulationSize) -> StationaryResult:
    """Compares all policies for one sigma."""
    durations = make_lognormal_durations(MEDIAN, sigma, size.jobs)
    policies = {
        ADVICE: summarize(simulate(AdvisedPolicy(), durations)),
        "capped full jitter": summarize(simulate(BackoffPolicy(), durations)),
    }
    for history in HISTORIES:
        show_progress(f"spread {sigma}, after {history} jobs")
        policies[learned_label(history)] = simulate_learned(sigma, history, size)
    latency = policies[ADVICE].latency
    show_progress(f"spread {sigma}, at equal latency")
    return StationaryResult(
        sigma,
        sum(durations) / len(durations),
        simulate_optimum(durations, POLL_COST),
        scale_to_latency(latency, lambda scale: simulate_optimum(durations, POLL_COST * scale**2)),
        policies,
        scale_to_latency(latency, lambda scale: simulate_learned(sigma, HISTORIES[-1], size, scale)),
    )


class DisturbedResult(NamedTuple):
    """Results for disturbed jobs; the last two at the mean latency of the service's advice."""

    name: str
    advice: PollStats
    learned: PollStats
    optimum: PollStats
    learned_at_advice: PollStats
    optimum_at_advice: PollStats


def compare_disturbed(name: str, sigma: float, size: SimulationSize) -> DisturbedResult:
    """Compares the policies for one disturbance."""
    show_progress(f"spread {sigma}, {name}")
    rng = random.Random(5)
    plain = shuffle(make_lognormal_durations(MEDIAN, sigma, size.jobs), seed=3)
    runs = [
        DISTURBANCES[name](plain[n : n + DISTURBED_RUN_JOBS], rng) for n in range(0, len(plain), DISTURBED_RUN_JOBS)
    ]
    halves = [
        [each for run in runs for each in run[half : half + DISTURBED_RUN_JOBS // 2]]
        for half in (0, DISTURBED_RUN_JOBS // 2)
    ]

    def learned(scale: float, some: Sequence[Sequence[float]]) -> PollStats:
        return summarize([each for n, run in enumerate(some) for each in simulate(LearnedPolicy(scale), run, seed=n)])

    def optimum(price: float) -> PollStats:
        """Simulates the optimum of each half: it knows the time of the change."""
        return summarize(
            [each for half in halves for each in simulate(FixedPolicy(compute_optimal_ages(half, price)), half)]
        )

    advice = summarize(simulate(AdvisedPolicy(), list(chain.from_iterable(runs))))
    few = runs[: len(runs) // 2 + 1]
    return DisturbedResult(
        f"{sigma}  {name}",
        advice,
        learned(1.0, runs),
        optimum(POLL_COST),
        scale_to_latency(advice.latency, lambda scale: learned(scale, few)),
        scale_to_latency(advice.latency, lambda scale: optimum(POLL_COST * scale**2)),
    )
