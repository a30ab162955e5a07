"""The purchases and responses of the server, without socket, clock and randomness.

A job ends at its n-th successful poll, independent of time, so that every SDK has the same poll count. Faults depend on
the number of the job and of the attempt, so that every SDK gets the same faults.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Final
from zlib import crc32

import attrs

FAULT_SHARE: Final = 0.05
"""Share of submits whose response is lost, and of polls that return 503."""


class PollOutcome(Enum):
    """The outcome of a poll."""

    WAITING = "waiting"
    ENDED = "ended"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


@attrs.define
class Task:
    """One purchase: the number of its job, the received polls and the successful ones."""

    number: int
    polls: int = 0
    responses: int = 0


@attrs.frozen
class Counts:
    """Numbers of requests: `polls` are successful polls, `fewest` and `most` are per job."""

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


class PurchaseLog:
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
        """Number of purchases."""
        return len(self._tasks)

    def submit(self, number: int, key: bytes | None) -> tuple[int, bool]:
        """Returns the task of a job, and True if the response is lost. A repeated key makes no purchase."""
        self._submits[number] += 1
        self._keyed += key is not None
        task = self._by_key.get(key) if key is not None else None
        if task is None:
            task = len(self._tasks)
            self._tasks.append(Task(number))
            self._bought[number] += 1
            if key is not None:
                self._by_key[key] = task
        lost = self._fault_strikes("submit", number, self._submits[number])
        self._dropped += lost
        return task, lost

    def poll(self, number: int) -> PollOutcome:
        """Returns the outcome of a poll."""
        if number >= len(self._tasks):
            return PollOutcome.UNKNOWN
        task = self._tasks[number]
        task.polls += 1
        if self._fault_strikes("poll", task.number, task.polls):
            self._unavailable += 1
            return PollOutcome.UNAVAILABLE
        task.responses += 1
        if task.responses < self._polls_per_job:
            return PollOutcome.WAITING
        self.ended += task.responses == self._polls_per_job
        return PollOutcome.ENDED

    def counts(self) -> Counts:
        """Returns all counts."""
        responses = [task.responses for task in self._tasks]
        return Counts(
            requests=self.requests,
            submits=self._submits.total(),
            purchases=self.purchases,
            bought_twice=sum(times > 1 for times in self._bought.values()),
            keyed=self._keyed,
            dropped=self._dropped,
            unavailable=self._unavailable,
            polls=sum(responses),
            fewest=min(responses, default=0),
            most=max(responses, default=0),
            ended=self.ended,
        )

    def _fault_strikes(self, operation: str, number: int, attempt: int) -> bool:
        return self._faults and crc32(f"{operation} {number} {attempt}".encode()) % 1000 < FAULT_SHARE * 1000
