"""Webhook deliveries and polls: which records are new, and how many polls deliveries replace."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..types.generations import Generation

MAX_DELIVERY_DELAY: Final = 5.0
"""Maximum delay of a delivery after the end of a job in seconds. A later one is no better than a poll."""

DECAY: Final = 0.9
"""Factor by which an end reduces the weight of earlier ones: the last ten dominate.

Polls return after five to seven ends without a delivery, while a single lost delivery has little effect.
"""

EXPECTED_DELIVERY_RATE: Final = 0.9
"""Assumed share of delivered ends before the first observed end, if a receiver is running."""

MAX_SKIPPED_POLLS: Final = 9
"""Maximum number of consecutive skipped polls: at least a tenth of the polls is sent."""

LATE_JOB_FACTOR: Final = 3
"""Factor for the skipped polls of a late job."""

MAX_PENDING_DELIVERIES: Final = 1000
"""Maximum number of polled ends whose deliveries are awaited. Further ends are not counted."""


class SnapshotChange(Enum):
    """Change of a job by a record that did not come from its polls."""

    NONE = auto()
    """The record is older, less final or equal."""
    UPDATE = auto()
    """The job is open, and has changed."""
    END = auto()
    """The job has ended, and this is its record."""
    INCONSISTENT = auto()
    """The record is terminal, but stale or without links: a poll is needed."""


def compare_snapshots(record: Generation, last: Generation | None) -> SnapshotChange:
    """Returns the change between the last known record of a job and another one."""
    if last is not None and last.is_terminal:
        return SnapshotChange.NONE
    if not record.is_terminal:
        return SnapshotChange.UPDATE if last is None or record.is_newer_than(last) else SnapshotChange.NONE
    is_stale = last is not None and last.is_newer_than(record)
    has_no_links = record.succeeded and not record.urls
    return SnapshotChange.INCONSISTENT if is_stale or has_no_links else SnapshotChange.END


def delivery_delay(end: Generation, age: float) -> float:
    """Returns the seconds since the end of a job: its age by our clock less its duration by the server's clock."""
    return 0.0 if end.duration is None else age - end.duration.total_seconds()


class DeliveryRateEstimator:
    """Share of ends that were delivered in time; recent ends weigh more.

    Polls are needed for the other ends only. For a share q of these, the optimal poll interval, sqrt(2 L / h) for a
    hazard h (see `intervals`), grows by 1 / sqrt(q). A polled end counts as undelivered after `MAX_DELIVERY_DELAY`.
    """

    def __init__(self) -> None:
        self._rate = 0.0
        self._pending: dict[str, float] = {}  # time of the poll by task id, oldest first
        self.is_active = False
        """True if deliveries are expected, or one has arrived."""

    def expect_deliveries(self) -> None:
        """Enables the estimator, because a receiver is running."""
        if not self.is_active:
            self.is_active, self._rate = True, EXPECTED_DELIVERY_RATE

    def on_delivery(self, late_by: float = 0.0) -> None:
        """Records a delivery before any poll, `late_by` seconds after the end."""
        self.is_active = True
        self._update_rate(in_time=late_by <= MAX_DELIVERY_DELAY)

    def on_end_polled(self, task_id: str, now: float, late_by: float = 0.0) -> None:
        """Records an undelivered end that a poll has found `late_by` seconds later."""
        self._expire_pending(now)
        if late_by > MAX_DELIVERY_DELAY:
            self._update_rate(in_time=False)
        elif len(self._pending) < MAX_PENDING_DELIVERIES:
            self._pending[task_id] = now

    def on_late_delivery(self, task_id: str, now: float) -> None:
        """Records the delivery of a job without a wait, perhaps of a polled end."""
        self._expire_pending(now)
        if self._pending.pop(task_id, None) is not None:
            self._update_rate(in_time=True)

    def may_skip_poll(self, skipped: int, now: float, *, is_late: bool = False) -> bool:
        """Returns True if one more poll of a job may be skipped, after `skipped` consecutive ones.

        A late job has outlasted most similar jobs: its delivery was probably lost.
        """
        self._expire_pending(now)
        undelivered = 1.0 - self._rate
        skipped *= LATE_JOB_FACTOR if is_late else 1
        return skipped < MAX_SKIPPED_POLLS and (skipped + 2) * math.sqrt(undelivered) <= 1.0

    def _expire_pending(self, now: float) -> None:
        while self._pending:
            task_id = next(iter(self._pending))
            if now - self._pending[task_id] <= MAX_DELIVERY_DELAY:
                return
            del self._pending[task_id]
            self._update_rate(in_time=False)

    def _update_rate(self, *, in_time: bool) -> None:
        self._rate = self._rate * DECAY + (1.0 - DECAY) * in_time
