"""What the server's service bought and answered: no socket, no clock, no dice.

A job ends at its n-th answered poll, whatever time that is, so that every SDK has the same poll count at its own pace.
Faults hang on the number of the order and of the attempt, so that every SDK meets the same ones.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Final
from zlib import crc32

import attrs

FAULT_SHARE: Final = 0.05
"""The share of submits that act and then lose their answer, and of polls that meet a 503."""


class Seen(Enum):
    """What a poll is told."""

    WAITING = "waiting"
    ENDED = "ended"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


@attrs.define
class Task:
    """One purchase: the order it is for, the polls that arrived, and those that were answered."""

    order: int
    polls: int = 0
    answered: int = 0


@attrs.frozen
class Tally:
    """What has arrived: `polls` were answered with the state of a job, `fewest` and `most` of them per job."""

    requests: int
    submits: int
    purchases: int
    bought_twice: int
    keyed: int
    dropped: int
    unavailable: int
    polls: int
    fewest: int
    most: int
    ended: int


class Books:
    """The purchases of one run."""

    def __init__(self, *, polls: int, faults: bool) -> None:
        self._polls_per_job = polls
        self._faults = faults
        self._tasks: list[Task] = []
        self._by_key: dict[bytes, int] = {}
        self._submits: Counter[int] = Counter()
        self._bought: Counter[int] = Counter()
        self._keyed = self._dropped = self._unavailable = 0
        self.requests = self.ended = 0

    @property
    def purchases(self) -> int:
        """How many jobs were bought."""
        return len(self._tasks)

    def submit(self, order: int, key: bytes | None) -> tuple[int, bool]:
        """The task bought for an order, and whether the answer gets lost. A key seen before buys nothing."""
        self._submits[order] += 1
        self._keyed += key is not None
        task = self._by_key.get(key) if key is not None else None
        if task is None:
            task = len(self._tasks)
            self._tasks.append(Task(order))
            self._bought[order] += 1
            if key is not None:
                self._by_key[key] = task
        lost = self._strikes("submit", order, self._submits[order])
        self._dropped += lost
        return task, lost

    def poll(self, number: int) -> Seen:
        """What the state of a task is."""
        if number >= len(self._tasks):
            return Seen.UNKNOWN
        task = self._tasks[number]
        task.polls += 1
        if self._strikes("poll", task.order, task.polls):
            self._unavailable += 1
            return Seen.UNAVAILABLE
        task.answered += 1
        if task.answered < self._polls_per_job:
            return Seen.WAITING
        self.ended += task.answered == self._polls_per_job
        return Seen.ENDED

    def tally(self) -> Tally:
        """All counts."""
        answered = [task.answered for task in self._tasks]
        return Tally(
            requests=self.requests,
            submits=self._submits.total(),
            purchases=self.purchases,
            bought_twice=sum(times > 1 for times in self._bought.values()),
            keyed=self._keyed,
            dropped=self._dropped,
            unavailable=self._unavailable,
            polls=sum(answered),
            fewest=min(answered, default=0),
            most=max(answered, default=0),
            ended=self.ended,
        )

    def _strikes(self, what: str, order: int, attempt: int) -> bool:
        return self._faults and crc32(f"{what} {order} {attempt}".encode()) % 1000 < FAULT_SHARE * 1000
