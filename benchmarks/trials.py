"""Policies on jobs whose durations are as they were, or are disturbed: at the default price and at equal latency."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from rivya_async._core.polling.intervals import POLL_COST

from .optimum import best_ages
from .polling import Advice, Backoff, Fixed, Learned
from .report import progress
from .simulation import Seen, lognormal, shuffled, simulated, summary

MEDIAN: Final = 30.0
"""Seconds; the mean is greater by exp(sigma ** 2 / 2)."""

SPREADS: Final = (0.3, 0.6, 1.0)
HISTORIES: Final = (20, 50)
ADVICE: Final = "the service's advice"

RUN: Final = 200
"""Jobs of a disturbed run, which begins with nothing learned."""

Disturbance = Callable[[Sequence[float], random.Random], list[float]]


def _doubled(durations: Sequence[float], _dice: random.Random) -> list[float]:
    half = len(durations) // 2
    return [*durations[:half], *(2.0 * each for each in durations[half:])]


def _early(durations: Sequence[float], dice: random.Random) -> list[float]:
    return [each * dice.uniform(0.0, 0.5) if dice.random() < 0.2 else each for each in durations]


def _heavy(durations: Sequence[float], dice: random.Random) -> list[float]:
    return [each * 6.0 if dice.random() < 0.05 else each for each in durations]


DISTURBED: Final[dict[str, Disturbance]] = {
    "the median doubles half-way": _doubled,
    "20 % end early": _early,
    "5 % take six times as long": _heavy,
}


class Effort(NamedTuple):
    """How much is simulated."""

    histories: int
    jobs: int

    @classmethod
    def of(cls, *, quick: bool) -> Effort:
        """A tenth of it if it has to be quick: then it is luck whether the marks are met."""
        return cls(40, 1_200) if quick else cls(400, 12_000)


def after(history: int) -> str:
    """What the learned schedule is called after so many jobs."""
    return f"learned, after {history} jobs"


def after_history(sigma: float, history: int, effort: Effort, stretch: float = 1.0, median: float = MEDIAN) -> Seen:
    """The learned schedule after so many jobs that it polled itself, then frozen; the mean over many such histories."""
    jobs = shuffled(lognormal(median, sigma, effort.jobs), seed=2)
    found = []
    for n, policy in enumerate(_taught(sigma, history, effort.histories, median)):
        policy.stretch = stretch
        found += simulated(policy, jobs[n :: effort.histories], seed=n)
    return summary(found)


@functools.cache
def _taught(sigma: float, history: int, histories: int, median: float) -> Sequence[Learned]:
    durations = shuffled(lognormal(median, sigma, histories * history), seed=1)
    policies = [Learned() for _ in range(histories)]
    for n, policy in enumerate(policies):
        simulated(policy, durations[n::histories], seed=n)
        policy.learns = False
    return policies


def at_latency(latency: float, seen_with: Callable[[float], Seen]) -> Seen:
    """What a policy does when it is stretched to this mean latency."""
    low, high = math.log(0.1), math.log(10.0)
    for _ in range(10):
        middle = (low + high) / 2.0
        low, high = (middle, high) if seen_with(math.exp(middle)).latency < latency else (low, middle)
    return seen_with(math.exp(low))


def best(durations: Sequence[float], price: float) -> Seen:
    """What the optimum does that knows the distribution."""
    return summary(simulated(Fixed(best_ages(durations, price)), durations))


class Undisturbed(NamedTuple):
    """All policies on jobs of one spread."""

    sigma: float
    mean: float
    optimum: Seen
    optimum_at_advice: Seen
    policies: dict[str, Seen]
    learned_at_advice: Seen


def undisturbed(sigma: float, effort: Effort) -> Undisturbed:
    """Compare all policies on jobs of one spread."""
    durations = lognormal(MEDIAN, sigma, effort.jobs)
    policies = {
        ADVICE: summary(simulated(Advice(), durations)),
        "capped full jitter": summary(simulated(Backoff(), durations)),
    }
    for history in HISTORIES:
        progress(f"spread {sigma}, after {history} jobs")
        policies[after(history)] = after_history(sigma, history, effort)
    latency = policies[ADVICE].latency
    progress(f"spread {sigma}, at equal latency")
    return Undisturbed(
        sigma,
        sum(durations) / len(durations),
        best(durations, POLL_COST),
        at_latency(latency, lambda stretch: best(durations, POLL_COST * stretch**2)),
        policies,
        at_latency(latency, lambda stretch: after_history(sigma, HISTORIES[-1], effort, stretch)),
    )


class Disturbed(NamedTuple):
    """Policies on jobs that are not what they were; the last two at the mean latency of the service's advice."""

    name: str
    advice: Seen
    learned: Seen
    optimum: Seen
    learned_at_advice: Seen
    optimum_at_advice: Seen


def disturbed(name: str, sigma: float, effort: Effort) -> Disturbed:
    """Compare the policies on runs of jobs with this disturbance."""
    progress(f"spread {sigma}, {name}")
    dice = random.Random(5)
    plain = shuffled(lognormal(MEDIAN, sigma, effort.jobs), seed=3)
    runs = [DISTURBED[name](plain[n : n + RUN], dice) for n in range(0, len(plain), RUN)]
    halves = [[each for run in runs for each in run[half : half + RUN // 2]] for half in (0, RUN // 2)]

    def learned(stretch: float, some: Sequence[Sequence[float]]) -> Seen:
        return summary([each for n, run in enumerate(some) for each in simulated(Learned(stretch), run, seed=n)])

    def optimum(price: float) -> Seen:
        """That of each half: it knows when the durations change, too."""
        return summary([each for half in halves for each in simulated(Fixed(best_ages(half, price)), half)])

    advice = summary(simulated(Advice(), list(chain.from_iterable(runs))))
    few = runs[: len(runs) // 2 + 1]
    return Disturbed(
        f"{sigma}  {name}",
        advice,
        learned(1.0, runs),
        optimum(POLL_COST),
        at_latency(advice.latency, lambda stretch: learned(stretch, few)),
        at_latency(advice.latency, lambda stretch: optimum(POLL_COST * stretch**2)),
    )
