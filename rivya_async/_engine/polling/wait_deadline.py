"""The end of a wait that has a timeout: a last look at the job shortly before, then no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..timer_queue import TimerHandle, TimerQueue
    from .poller import Poller
    from .tracked_job import TrackedJob
    from .waiters import SingleWaiter

FINAL_POLL_LEAD: Final = 2.0
"""Seconds before the deadline, or a tenth of the wait if that is less, by which a last poll is sent."""


class WaitDeadline:
    """Lets a wait expire, but not for want of a look: a job that has ended since its last poll has ended in time."""

    __slots__ = ("_deadline", "_final_poll_requested", "_job", "_poller", "_timer", "_timers", "_waiter")

    def __init__(
        self, at: float, scheduler: TimerQueue, waiter: SingleWaiter, polls: Poller, watch: TrackedJob
    ) -> None:
        self._deadline = at
        self._timers = scheduler
        self._waiter = waiter
        self._poller = polls
        self._job = watch
        self._final_poll_requested = False
        left = at - asyncio.get_running_loop().time()
        self._timer: TimerHandle = scheduler.call_at(at - min(FINAL_POLL_LEAD, left / 10.0), self)

    def fire(self) -> None:
        """Time for the last look, or for the end."""
        if self._final_poll_requested:
            self._waiter.fire()
            return
        self._final_poll_requested = True
        self._timer = self._timers.call_at(self._deadline, self)
        self._poller.poll_before_deadline(self._job, self._deadline)

    def cancel(self) -> None:
        """The wait is over."""
        self._timers.cancel(self._timer)
