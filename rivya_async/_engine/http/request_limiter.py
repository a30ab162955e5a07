"""Who may send, and when: one bound on what is in flight, one budget of requests per second, two lanes before both."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from ..._core.errors import RequestNotSentError, SubmitTimeoutError
from ..._core.limits.rate_controller import RateController
from ..timer_queue import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..timer_queue import TimerHandle, TimerQueue

CALLS_PER_POLL: Final = 4
"""While both lanes wait, calls go first, and every fifth place is a poll's."""

MAX_QUEUED_POLLS: Final = 8
"""With so many polls in its lane a gate that keeps a budget is crowded."""


class QueuedPoll(Protocol):
    """Something that waits in a lane."""

    def wake(self) -> bool:
        """Its turn has come; False where it no longer wants it. Must neither wait nor raise."""
        ...


class RequestLimiter:
    """At most `limit` places, given at the pace of `budget`.

    A cancelled holder or waiter gives its place back; nobody overtakes within a lane. While the service is down, calls
    wait for it, for at most `patience` seconds.
    """

    def __init__(
        self,
        limit: int,
        scheduler: TimerQueue,
        budget: RateController | None = None,
        *,
        patience: float = 0.0,
        uniform: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.rate_controller = budget or RateController()
        self._limit = limit
        self._timers = scheduler
        self._max_outage_wait = patience
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self._free = limit
        self._call_queue: deque[Wakeup] = deque()
        self._poll_queue: deque[QueuedPoll] = deque()
        self._consecutive_calls = 0
        self._dispatch_timer: TimerHandle | None = None
        self._closed = False
        self._idle: asyncio.Event | None = None
        if self.rate_controller.external_limiter is not None:
            self.rate_controller.external_limiter.set_grant_callback(self.dispatch)

    @property
    def queued_polls(self) -> int:
        """How many polls stand in their lane."""
        return len(self._poll_queue)

    @property
    def is_poll_queue_full(self) -> bool:
        """Whether no more polls should come: those that wait are as many as get in at once, or under a budget a few."""
        return len(self._poll_queue) >= (self._limit if self.rate_controller.is_unlimited else MAX_QUEUED_POLLS)

    async def acquire(self, *, deadline: float | None = None) -> None:
        """Take a place for a call, or wait for one until `deadline`.

        Raises `RequestNotSentError` without a place, and once the gate is closed.
        """
        now = self._loop.time()
        if self._closed or (deadline is not None and now >= deadline):
            raise self._rejection(deadline)
        if self._try_acquire():
            return
        if self.rate_controller.outage_duration(now) > self._max_outage_wait:
            raise self._rejection(deadline)
        place = Wakeup(self._loop)
        self._call_queue.append(place)
        entry = None if deadline is None else self._timers.call_at(deadline, place)
        self.dispatch()
        try:
            if not await place:
                raise self._rejection(deadline)
        except asyncio.CancelledError:
            if place.was_woken:
                self.release()  # the place had just become ours
            elif place in self._call_queue:
                self._call_queue.remove(place)
            raise
        finally:
            if entry is not None:
                self._timers.cancel(entry)

    def enqueue_poll(self, poll: QueuedPoll) -> None:
        """Wake a poll as soon as there is a place for it."""
        if not self._closed:
            self._poll_queue.append(poll)
            self.dispatch()

    def release(self) -> None:
        """Give the place back."""
        self._free += 1
        if self._call_queue or self._poll_queue:
            self.dispatch()
        if self._idle is not None and self._free == self._limit:
            self._idle.set()

    def dispatch(self) -> None:
        """Let in who may come in now, and look again when the budget allows the next."""
        while self._free and (self._call_queue or self._poll_queue):
            if not self.rate_controller.is_unlimited and (wait := self.rate_controller.delay(self._loop.time())):
                self._schedule_dispatch(wait)
                return
            self._free -= 1
            if not self._wake_next():
                self._free += 1
                return
            self._count_request()

    fire = dispatch
    """The budget may allow the next."""

    def reject_calls_in_outage(self) -> None:
        """Turn away the calls that wait, if the service has been down for longer than their patience."""
        if self.rate_controller.outage_duration(self._loop.time()) > self._max_outage_wait:
            self._reject_queued_calls()

    def close(self) -> None:
        """Turn away all that wait, and all that come."""
        self._closed = True
        self._reject_queued_calls()
        self._poll_queue.clear()
        if self._dispatch_timer is not None:
            self._timers.cancel(self._dispatch_timer)

    async def aclose(self) -> None:
        """Close, then wait until all that are in flight have left."""
        self.close()
        if self._free < self._limit:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    def _rejection(self, deadline: float | None) -> RequestNotSentError:
        if self._closed:
            return RequestNotSentError("the session was closed before this was sent: nothing was sent")
        if deadline is not None and self._loop.time() >= deadline:
            return SubmitTimeoutError("the deadline passed before this was sent: nothing was sent")
        return RequestNotSentError("the service has been down for long: nothing was sent, try again later")

    def _try_acquire(self) -> bool:
        """A place at once, if nobody waits for one."""
        if not self._free or self._call_queue or self._poll_queue:
            return False
        if not self.rate_controller.is_unlimited and self.rate_controller.delay(self._loop.time()):
            return False
        self._free -= 1
        self._count_request()
        return True

    def _count_request(self) -> None:
        if not self.rate_controller.is_unlimited:
            self.rate_controller.on_request(self._loop.time(), self._uniform())

    def _reject_queued_calls(self) -> None:
        for place in self._call_queue:
            place.fire()
        self._call_queue.clear()

    def _schedule_dispatch(self, wait: float) -> None:
        if self.rate_controller.external_limiter is not None and math.isinf(wait):
            self.rate_controller.external_limiter.request_more(len(self._call_queue) + len(self._poll_queue))
            return
        due = self._loop.time() + wait
        if self._dispatch_timer is not None:
            if self._dispatch_timer.target is not None and self._dispatch_timer.due <= due:
                return
            self._timers.cancel(self._dispatch_timer)
        self._dispatch_timer = self._timers.call_at(due, self)

    def _wake_next(self) -> bool:
        if (self._consecutive_calls < CALLS_PER_POLL or not self._poll_queue) and _wake_first(self._call_queue):
            self._consecutive_calls += 1
            return True
        self._consecutive_calls = 0
        return _wake_first(self._poll_queue) or _wake_first(self._call_queue)


def _wake_first(lane: deque[Wakeup] | deque[QueuedPoll]) -> bool:
    """Wake the first that still waits; False where nobody does."""
    while lane:
        if lane.popleft().wake():
            return True
    return False
