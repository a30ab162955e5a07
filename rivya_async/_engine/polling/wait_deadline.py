"""The begin and the end of a wait: its context manager, and its deadline with the last polls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from ..timer_queue import TimerHandle, TimerQueue
    from .tracked_job import TrackedJob
    from .waiters import Waiter

FINAL_POLL_LEAD: Final = 2.0
"""Seconds before a deadline at which a last poll is sent; a tenth of the wait if that is less."""

MAX_DEADLINE_LATENESS: Final = 0.25
"""Seconds after a deadline from which on its timer is late: the loop was blocked."""

LATE_POLL_CHECK: Final = 0.05
"""Seconds between two checks for the answer to the poll after a late deadline."""


class Waits(Protocol):
    """The registry of the waits."""

    loop: asyncio.AbstractEventLoop
    timers: TimerQueue

    def end_wait(self, waiter: Waiter, job: TrackedJob, started: float, error: BaseException | None) -> None:
        """Removes a waiter, and reports the end of its wait."""

    def poll_last(self, waiter: Waiter, job: TrackedJob | None, deadline: float | None) -> None:
        """Polls a job, or some jobs of a group, before a deadline; at once without one."""

    def is_polling(self, waiter: Waiter, job: TrackedJob | None) -> bool:
        """Returns whether a poll of `poll_last` has no answer yet."""
        ...


class WaitDeadline:
    """The deadline of a wait, and its last polls: shortly before it, and once it has passed while the loop was blocked.

    Such a deadline is extended for the poll.
    """

    __slots__ = (
        "_deadline",
        "_job",
        "_late_until",
        "_polls_left",
        "_registry",
        "_timer",
        "_waiter",
    )

    def __init__(
        self,
        registry: Waits,
        waiter: Waiter,
        deadline: float | None,
        *,
        job: TrackedJob | None = None,
        lead: float = 0.0,
    ) -> None:
        self._registry = registry
        self._waiter = waiter
        self._deadline = math.inf if deadline is None else deadline
        self._job = job
        self._late_until = 0.0
        self._polls_left = 2 if lead else 1
        self._timer: TimerHandle | None = None if deadline is None else registry.timers.call_at(deadline - lead, self)

    def fire(self) -> None:
        """Requests a last poll, or ends the wait."""
        now = self._registry.loop.time()
        if self._late_until:
            if now < self._late_until and self._registry.is_polling(self._waiter, self._job):
                self._timer = self._registry.timers.call_at(now + LATE_POLL_CHECK, self)
            else:
                self._waiter.fire()
            return
        is_late = now >= self._deadline + (0.0 if self._polls_left > 1 else MAX_DEADLINE_LATENESS)
        if self._polls_left == 1 and not is_late:
            self._waiter.fire()
            return
        self._polls_left = 1
        self._late_until = now + FINAL_POLL_LEAD if is_late else 0.0
        self._timer = self._registry.timers.call_at(now + LATE_POLL_CHECK if is_late else self._deadline, self)
        self._registry.poll_last(self._waiter, self._job, None if is_late else self._deadline)

    def cancel(self) -> None:
        """Cancels the timer."""
        if self._timer is not None:
            self._registry.timers.cancel(self._timer)


class JobWait(WaitDeadline):
    """A wait for one job and its deadline. One object, since each waiting job has one."""

    __slots__ = ("_started", "job")

    def __init__(self, registry: Waits, waiter: Waiter, job: TrackedJob, deadline: float | None) -> None:
        self.job = job
        self._started = now = registry.loop.time()
        lead = 0.0 if deadline is None else min(FINAL_POLL_LEAD, (deadline - now) / 10.0)
        super().__init__(registry, waiter, deadline, job=job, lead=lead)

    def __enter__(self) -> TrackedJob:
        return self.job

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        self._registry.end_wait(self._waiter, self.job, self._started, error)
