"""Jobs on a virtual clock: how often each is polled, and how late its end is seen, under one policy or another."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from statistics import NormalDist, fmean
from typing import NamedTuple, Protocol


class Seen(NamedTuple):
    """Of some jobs: polls per job, the mean latency, and the latency that one job in twenty exceeds; in seconds."""

    polls: float
    latency: float
    p95: float

    def cost(self, price: float) -> float:
        """Seconds per job, a poll being worth `price` of them."""
        return self.latency + price * self.polls


class Policy(Protocol):
    """When to look at a job."""

    def delay(self, n: int, u: float, age: float) -> float:
        """Seconds to the next poll after `n` polls; `u` is the job's own draw."""

    def saw_open(self, age: float, since: float) -> None:
        """A poll found a job open; the one before it was at the age `since`."""

    def saw_end(self, duration: float, since: float) -> None:
        """A poll found a job ended."""


def lognormal(median: float, sigma: float, count: int) -> list[float]:
    """So many durations in equal steps of probability: no luck of the draw."""
    normal = NormalDist()
    return [median * math.exp(sigma * normal.inv_cdf((n + 0.5) / count)) for n in range(count)]


def shuffled(durations: Sequence[float], seed: int) -> list[float]:
    """The same in an order of chance."""
    return random.Random(seed).sample(durations, len(durations))


class _Job:
    """One open job: when it was submitted, how long it lasts, and at which age it was polled last."""

    def __init__(self, born: float, duration: float, u: float) -> None:
        self.born = born
        self.duration = duration
        self.u = u
        self.polls = 0
        self.polled_at = 0.0


def simulated(
    policy: Policy, durations: Sequence[float], *, at_once: int = 1, seed: int = 1
) -> list[tuple[int, float]]:
    """Polls and latency of each of these jobs, of which `at_once` are open at a time, in the order of their ends."""
    dice = random.Random(seed)
    waiting = iter(durations)
    due: list[tuple[float, int, _Job]] = []
    serial = itertools.count()
    found: list[tuple[int, float]] = []

    def begin(now: float) -> None:
        for duration in itertools.islice(waiting, 1):
            job = _Job(now, duration, dice.random())
            heapq.heappush(due, (now + policy.delay(0, job.u, 0.0), next(serial), job))

    for _ in range(at_once):
        begin(0.0)
    while due:
        now, _, job = heapq.heappop(due)
        age = now - job.born
        job.polls += 1
        if age >= job.duration:
            policy.saw_end(job.duration, job.polled_at)
            found.append((job.polls, age - job.duration))
            begin(now)
        else:
            policy.saw_open(age, job.polled_at)
            job.polled_at = age
            heapq.heappush(due, (now + policy.delay(job.polls, job.u, age), next(serial), job))
    return found


def summary(found: Sequence[tuple[int, float]]) -> Seen:
    """Of what `simulated` found."""
    latencies = sorted(latency for _, latency in found)
    return Seen(fmean(polls for polls, _ in found), fmean(latencies), latencies[int(0.95 * len(latencies))])
