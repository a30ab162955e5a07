"""Simulated polls and latency of jobs under a poll policy, and the optimal policy for a known distribution."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from statistics import NormalDist, fmean
from typing import Final, NamedTuple, Protocol

import numpy as np


class PollStats(NamedTuple):
    """Polls per job, mean latency and 95th percentile of the latency, in seconds."""

    polls: float
    latency: float
    p95: float

    def cost(self, price: float) -> float:
        """Returns the cost per job in seconds, with `price` seconds per poll."""
        return self.latency + price * self.polls


class Policy(Protocol):
    """A poll policy."""

    def delay(self, n: int, u: float, age: float) -> float:
        """Returns the seconds to the next poll after `n` polls; `u` is the random number of the job."""

    def record_open(self, age: float, since: float) -> None:
        """Records a poll of an open job; the previous poll was at the age `since`."""

    def record_end(self, duration: float, since: float, age: float) -> None:
        """Records a poll of an ended job at this age."""


def make_lognormal_durations(median: float, sigma: float, count: int) -> list[float]:
    """Returns durations at equal steps of probability, without randomness."""
    normal = NormalDist()
    return [median * math.exp(sigma * normal.inv_cdf((n + 0.5) / count)) for n in range(count)]


def shuffle(durations: Sequence[float], seed: int) -> list[float]:
    """Returns the durations in random order."""
    return random.Random(seed).sample(durations, len(durations))


class _Job:
    """An open job: submit time, duration and age at the last poll."""

    def __init__(self, born: float, duration: float, u: float) -> None:
        self.born = born
        self.duration = duration
        self.u = u
        self.polls = 0
        self.polled_at = 0.0


def simulate(
    policy: Policy, durations: Sequence[float], *, max_open_jobs: int = 1, seed: int = 1
) -> list[tuple[int, float]]:
    """Returns polls and latency of each job in the order of their ends; `max_open_jobs` limits the open jobs."""
    rng = random.Random(seed)
    waiting = iter(durations)
    due: list[tuple[float, int, _Job]] = []
    serial = itertools.count()
    results: list[tuple[int, float]] = []

    def reset(now: float) -> None:
        for duration in itertools.islice(waiting, 1):
            job = _Job(now, duration, rng.random())
            heapq.heappush(due, (now + policy.delay(0, job.u, 0.0), next(serial), job))

    for _ in range(max_open_jobs):
        reset(0.0)
    while due:
        now, _, job = heapq.heappop(due)
        age = now - job.born
        job.polls += 1
        if age >= job.duration:
            policy.record_end(job.duration, job.polled_at, age)
            results.append((job.polls, age - job.duration))
            reset(now)
        else:
            policy.record_open(age, job.polled_at)
            job.polled_at = age
            heapq.heappush(due, (now + policy.delay(job.polls, job.u, age), next(serial), job))
    return results


def summarize(results: Sequence[tuple[int, float]]) -> PollStats:
    """Summarizes results of `simulate`."""
    latencies = sorted(latency for _, latency in results)
    return PollStats(fmean(polls for polls, _ in results), fmean(latencies), latencies[int(0.95 * len(latencies))])


GRID_POINTS: Final = 1500
"""Number of possible poll ages, equidistant on a logarithmic scale."""


def compute_optimal_ages(durations: Sequence[float], price: float) -> list[float]:
    """Returns the poll ages with the minimum cost by dynamic programming; a poll costs `price` seconds of latency.

    From the last age to the first: V(t) = min over x > t of price * P(open at t) + E[x - duration; t < duration <= x]
    + V(x).
    """
    ordered = np.sort(np.asarray(durations))
    ages = np.concatenate([[0.0], np.geomspace(ordered[0] * 0.9, ordered[-1] * 1.0001, GRID_POINTS)])
    ended_by = np.searchsorted(ordered, ages, side="right")
    ended = ended_by / len(ordered)
    seconds = np.concatenate([[0.0], np.cumsum(ordered)])[ended_by] / len(ordered)
    value = np.zeros(len(ages))
    following = np.zeros(len(ages), dtype=int)
    for n in range(len(ages) - 2, -1, -1):
        late = ages[n + 1 :] * (ended[n + 1 :] - ended[n]) - (seconds[n + 1 :] - seconds[n])
        costs = price * (1.0 - ended[n]) + late + value[n + 1 :]
        best = int(np.argmin(costs))
        value[n], following[n] = costs[best], n + 1 + best
    optimal_ages, n = [], 0
    while n < len(ages) - 1:
        n = int(following[n])
        optimal_ages.append(float(ages[n]))
    return optimal_ages
