"""Bounds on requests: how many are in flight, how many go out per second, and in which order."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from ..._core.errors import RequestNotSentError, SessionClosedError, SubmitTimeoutError
from ..._core.limits.rate_controller import RateController
from ..timer_queue import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.errors import RivyaError
    from ..._core.http.retry import GiveUp, RetryAfterDelay
    from ..timer_queue import TimerHandle, TimerQueue

CALLS_PER_POLL: Final = 4
"""Calls that are dispatched for each poll while both queues hold requests."""

MAX_QUEUED_POLLS: Final = 8
"""Queued polls from which on the poll queue of a limiter with a rate counts as full."""

SESSION_CLOSED: Final = "the session was closed before this was sent: nothing was sent. Create a new RivyaSession"


class QueuedPoll(Protocol):
    """A poll that waits for a slot."""

    def wake(self) -> bool:
        """Starts the poll; returns False if it is no longer wanted. Must neither wait nor raise."""
        ...


class Limiter(Protocol):
    """A bound on concurrency, with or without a rate."""

    @property
    def rate_controller(self) -> RateController | None:
        """The rate that attempts keep and teach; None where only concurrency is bounded."""
        ...

    async def acquire(self, *, deadline: float | None = None) -> object:
        """Takes a slot. Raises `SessionClosedError` without one, once the limiter is closed."""

    def release(self) -> None:
        """Gives the slot back."""

    def decide(self, error: RivyaError) -> RetryAfterDelay | GiveUp | None:
        """Returns the decision after an error, or None if the retry policy decides."""
        ...


class Guard(Protocol):
    """A condition for sending a call, apart from a slot and the rate."""

    def begin(self) -> bool:
        """Returns whether the call may be sent, which it then is."""
        ...


class _QueuedCall(Wakeup):
    """A call that waits for a slot, and takes it only if its guard permits it then."""

    __slots__ = ("_guard", "is_refused")

    def __init__(self, loop: asyncio.AbstractEventLoop, guard: Guard | None) -> None:
        super().__init__(loop)
        self._guard = guard
        self.is_refused = False

    def wake(self) -> bool:
        """Wakes the sleeper with True, or with False if it is not allowed; returns False without a sleeper."""
        if self._future.done():
            return False
        if self._guard is None or self._guard.begin():
            return super().wake()
        self.is_refused = True
        self.fire()
        return False


class RequestLimiter:
    """At most `limit` slots, given at the rate of `rate_controller`, in the order of two queues: calls and polls.

    Cancelled holders and waiters give their slots back. During an outage calls wait for at most `max_outage_wait`
    seconds.
    """

    def __init__(
        self,
        limit: int,
        timers: TimerQueue,
        rate_controller: RateController | None = None,
        *,
        max_outage_wait: float = 0.0,
        uniform: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.rate_controller = rate_controller or RateController()
        self._limit = limit
        self._timers = timers
        self._max_outage_wait = max_outage_wait
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self._free = limit
        self._call_queue: deque[_QueuedCall] = deque()
        self._poll_queue: deque[QueuedPoll] = deque()
        self._consecutive_calls = 0
        self._dispatch_timer: TimerHandle | None = None
        self._closed = False
        self._idle: asyncio.Event | None = None
        if self.rate_controller.external_limiter is not None:
            self.rate_controller.external_limiter.set_grant_callback(self.dispatch)

    @property
    def is_poll_queue_full(self) -> bool:
        """Returns whether further polls should stay out: as many wait as fit at once, or a few under a rate."""
        return len(self._poll_queue) >= (self._limit if self.rate_controller.is_unlimited else MAX_QUEUED_POLLS)

    async def acquire(self, *, deadline: float | None = None, guard: Guard | None = None) -> bool:
        """Takes a slot for a call, or waits for one until `deadline` (on the loop's clock).

        The guard is asked when there is a slot. If it returns False, so does this method, without a slot.

        Raises `RequestNotSentError` during an outage, `SubmitTimeoutError` at the deadline, and `SessionClosedError`
        once the limiter is closed.
        """
        now = self._loop.time()
        if self._closed or (deadline is not None and now >= deadline):
            raise self._rejection(deadline)
        if self._try_acquire(guard):
            return True
        if self.rate_controller.outage_duration(now) > self._max_outage_wait:
            raise self._rejection(deadline)
        slot = _QueuedCall(self._loop, guard)
        self._call_queue.append(slot)
        timer = None if deadline is None else self._timers.call_at(deadline, slot)
        self.dispatch()
        try:
            if not await slot and not slot.is_refused:
                raise self._rejection(deadline)
            return not slot.is_refused
        except asyncio.CancelledError:
            if slot.was_woken:
                self.release()  # the slot was given just before the cancellation
            elif slot in self._call_queue:
                self._call_queue.remove(slot)
            raise
        finally:
            if timer is not None:
                self._timers.cancel(timer)

    def enqueue_poll(self, poll: QueuedPoll) -> None:
        """Wakes the poll as soon as there is a slot for it."""
        if not self._closed:
            self._poll_queue.append(poll)
            self.dispatch()

    def release(self) -> None:
        """Gives a slot back."""
        self._free += 1
        if self._call_queue or self._poll_queue:
            self.dispatch()
        if self._idle is not None and self._free == self._limit:
            self._idle.set()

    def dispatch(self) -> None:
        """Wakes queued requests as far as slots and rate allow, and sets a timer for the next one."""
        while self._free and (self._call_queue or self._poll_queue):
            if not self.rate_controller.is_unlimited and (delay := self.rate_controller.delay(self._loop.time())):
                self._schedule_dispatch(delay)
                return
            self._free -= 1
            if not self._wake_next():
                self._free += 1
                return
            self._count_request()

    fire = dispatch
    """Called by the dispatch timer."""

    def decide(self, error: RivyaError) -> None:
        """Leaves all decisions to the retry policy."""

    def reject_calls_in_outage(self) -> None:
        """Rejects the queued calls if the outage has lasted longer than calls may wait."""
        if self.rate_controller.outage_duration(self._loop.time()) > self._max_outage_wait:
            self._reject_queued_calls()

    def close(self) -> None:
        """Rejects queued and future calls; drops queued polls."""
        self._closed = True
        self._reject_queued_calls()
        self._poll_queue.clear()
        if self._dispatch_timer is not None:
            self._timers.cancel(self._dispatch_timer)

    async def aclose(self) -> None:
        """Closes, then waits until every slot is released."""
        self.close()
        if self._free < self._limit:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    def _rejection(self, deadline: float | None) -> RequestNotSentError | SessionClosedError:
        if self._closed:
            return SessionClosedError(SESSION_CLOSED)
        if deadline is not None and self._loop.time() >= deadline:
            return SubmitTimeoutError("the deadline passed before this was sent: nothing was sent")
        return RequestNotSentError("the service has been down for long: nothing was sent, try again later")

    def _try_acquire(self, guard: Guard | None) -> bool:
        """Takes a slot if one is free, nothing is queued, and the call may be sent."""
        if not self._free or self._call_queue or self._poll_queue:
            return False
        if not self.rate_controller.is_unlimited and self.rate_controller.delay(self._loop.time()):
            return False
        if guard is not None and not guard.begin():
            return False
        self._free -= 1
        self._count_request()
        return True

    def _count_request(self) -> None:
        if not self.rate_controller.is_unlimited:
            self.rate_controller.on_request(self._loop.time(), self._uniform())

    def _reject_queued_calls(self) -> None:
        for slot in self._call_queue:
            slot.fire()
        self._call_queue.clear()

    def _schedule_dispatch(self, delay: float) -> None:
        external_limiter = self.rate_controller.external_limiter
        if external_limiter is not None and math.isinf(delay):
            external_limiter.request_more(len(self._call_queue) + len(self._poll_queue))
            return
        due = self._loop.time() + delay
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


class ClosableSemaphore:
    """A bound on concurrency without a rate. Once it is closed, it rejects waiters and newcomers."""

    def __init__(self, value: int) -> None:
        self.rate_controller: RateController | None = None
        self._semaphore = asyncio.Semaphore(value)
        self._closed = False

    async def acquire(self, *, deadline: float | None = None) -> None:  # noqa: ARG002 - transfers have no deadline
        """Takes a slot, or waits for one. Raises `SessionClosedError` once the semaphore is closed."""
        if not self._closed:
            await self._semaphore.acquire()
        if self._closed:
            self.release()  # wakes the next waiter, which is rejected in turn
            raise SessionClosedError(SESSION_CLOSED)

    def release(self) -> None:
        """Gives a slot back."""
        self._semaphore.release()

    def decide(self, error: RivyaError) -> None:
        """Leaves all decisions to the retry policy."""

    def close(self) -> None:
        """Rejects waiters and newcomers; holders keep their slots."""
        self._closed = True
        self.release()


def _wake_first(queue: deque[_QueuedCall] | deque[QueuedPoll]) -> bool:
    """Wakes the first entry that still waits; returns False if there is none."""
    while queue:
        if queue.popleft().wake():
            return True
    return False
