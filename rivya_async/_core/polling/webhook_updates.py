"""How far deliveries can be relied on, and how many polls that spares. It is told the time.

Polls then look for those ends only that no delivery tells of. Where that is a share q of all, the best interval
between two polls, sqrt(2 L / h) for a hazard h (see `schedule`), grows by 1 / sqrt(q).
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..types.generations import Generation

if TYPE_CHECKING:
    from ..types.generations import Generation

MAX_DELIVERY_DELAY: Final = 5.0
"""Seconds after an end within which a delivery tells of it: one that comes later is no better than the polls are."""

DECAY: Final = 0.9
"""An end lessens the weight of those before it to this share: the last ten count, about. So the polls come back after
five to seven ends of which no delivery has told, and one that is lost among many costs little."""

EXPECTED_DELIVERY_RATE: Final = 0.9
"""The share of ends that deliveries are taken to tell of where a receiver is there, and no end was seen yet."""

MAX_SKIPPED_POLLS: Final = 9
"""Polls in a row that are left out, however sure deliveries are: a tenth of them goes out as a safety net."""

LATE_JOB_FACTOR: Final = 3
"""A poll of a late job that was left out counts as so many."""

MAX_PENDING_DELIVERIES: Final = 1000
"""Ends that polls have found, and whose deliveries are awaited, at a time; others say nothing."""


class DeliveryRateEstimator:
    """The share of ends that deliveries told of in time; recent ends weigh more.

    An end that a poll finds is no delivery missed before a delivery has had its time to come.
    """

    def __init__(self) -> None:
        self._rate = 0.0
        self._pending: dict[str, float] = {}  # when a poll found the end, the earliest first
        self.is_active = False
        """Whether any have come, or are expected."""

    def expect_deliveries(self) -> None:
        """Somebody is there to receive them."""
        if not self.is_active:
            self.is_active, self._rate = True, EXPECTED_DELIVERY_RATE

    def on_delivery(self, late_by: float = 0.0) -> None:
        """One has told of an end, so many seconds after it."""
        self.is_active = True
        self._update_rate(in_time=late_by <= MAX_DELIVERY_DELAY)

    def on_end_polled(self, task_id: str, now: float, late_by: float = 0.0) -> None:
        """A poll has found an end, so many seconds after it, of which none has told so far."""
        self._expire_pending(now)
        if late_by > MAX_DELIVERY_DELAY:
            self._update_rate(in_time=False)
        elif len(self._pending) < MAX_PENDING_DELIVERIES:
            self._pending[task_id] = now

    def on_late_delivery(self, task_id: str, now: float) -> None:
        """One has told of an end that nobody waits for any more; perhaps because a poll has found it."""
        self._expire_pending(now)
        if self._pending.pop(task_id, None) is not None:
            self._update_rate(in_time=True)

    def may_skip_poll(self, left_out: int, now: float, *, is_late: bool = False) -> bool:
        """Whether one more poll of a job may be left out after so many in a row; `is_late` if others like it are not.

        The longer a job goes on that should have ended, the more likely its delivery was lost.
        """
        self._expire_pending(now)
        missed = 1.0 - self._rate
        left_out *= LATE_JOB_FACTOR if is_late else 1
        return left_out < MAX_SKIPPED_POLLS and (left_out + 2) * math.sqrt(missed) <= 1.0

    def _expire_pending(self, now: float) -> None:
        """Those that have not come in time will not come."""
        while self._pending:
            task_id = next(iter(self._pending))
            if now - self._pending[task_id] <= MAX_DELIVERY_DELAY:
                return
            del self._pending[task_id]
            self._update_rate(in_time=False)

    def _update_rate(self, *, in_time: bool) -> None:
        self._rate = self._rate * DECAY + (1.0 - DECAY) * in_time


def delivery_delay(end: Generation, age: float) -> float:
    """Seconds from the end of a job, by the server's clock, to now, when it is `age` seconds old by ours."""
    return 0.0 if end.duration is None else age - end.duration.total_seconds()


class SnapshotChange(Enum):
    """What to make of a record that somebody else has read."""

    NONE = auto()
    """It is older or less final than what is known, or says the same."""
    UPDATE = auto()
    """The job is open, and has changed."""
    END = auto()
    """The job has ended, and this is its record."""
    INCONSISTENT = auto()
    """It says that the job has ended, and does not fit: ask the service."""


def compare_snapshots(told: Generation, last: Generation | None) -> SnapshotChange:
    """What `told` adds to the record that was seen last."""
    if last is not None and last.is_terminal:
        return SnapshotChange.NONE
    if not told.is_terminal:
        return SnapshotChange.UPDATE if last is None or is_newer(told, last) else SnapshotChange.NONE
    is_stale = last is not None and is_newer(last, told)
    is_bare = told.succeeded and not told.urls
    return SnapshotChange.INCONSISTENT if is_stale or is_bare else SnapshotChange.END


def is_newer(generation: Generation, other: Generation) -> bool:
    """By the server's clock; where it is silent, nothing is newer."""
    if generation.updated_at is None or other.updated_at is None:
        return False
    return generation.updated_at > other.updated_at
