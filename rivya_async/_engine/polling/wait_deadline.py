"""The deadline of a wait, and the last poll before it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..timer_queue import TimerHandle, TimerQueue
    from .poller import Poller
    from .tracked_job import TrackedJob
    from .waiters import SingleWaiter

FINAL_POLL_LEAD: Final = 2.0
"""Seconds before a deadline at which a last poll is sent; a tenth of the wait if that is less."""


class WaitDeadline:
    """The deadline of a wait for one job. Shortly before it the job is polled a last time."""

    __slots__ = ("_deadline", "_final_poll_requested", "_job", "_poller", "_timer", "_timers", "_waiter")

    def __init__(
        self, deadline: float, timers: TimerQueue, waiter: SingleWaiter, poller: Poller, job: TrackedJob
    ) -> None:
        self._deadline = deadline
        self._timers = timers
        self._waiter = waiter
        self._poller = poller
        self._job = job
        self._final_poll_requested = False
        remaining = deadline - asyncio.get_running_loop().time()
        self._timer: TimerHandle = timers.call_at(deadline - min(FINAL_POLL_LEAD, remaining / 10.0), self)

    def fire(self) -> None:
        """Requests the last poll; at the deadline ends the wait."""
        if self._final_poll_requested:
            self._waiter.fire()
            return
        self._final_poll_requested = True
        self._timer = self._timers.call_at(self._deadline, self)
        self._poller.poll_before_deadline(self._job, self._deadline)

    def cancel(self) -> None:
        """Cancels the timer."""
        self._timers.cancel(self._timer)
