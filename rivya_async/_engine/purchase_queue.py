"""Queue of purchases under a limit of running jobs, where they wait for the end of a job."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from .._core.errors import RateLimitError, RivyaError, SessionClosedError, SubmitTimeoutError, copy_error
from .._core.http.retry import GiveUp, RetryAfterDelay, retry_after_of
from .._core.limits.jobs_limit import JobsLimit
from .http.request_limiter import SESSION_CLOSED
from .polling.open_job_observer import OpenJobObserver
from .timer_queue import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.limits.rate_controller import RateController
    from .._core.open_jobs import OpenJobs
    from .._core.policies import PollPolicy, RetryPolicy
    from .._core.types.generations import Generation
    from .http.request_limiter import RequestLimiter
    from .polling.wait_registry import WaitRegistry
    from .timer_queue import TimerHandle, TimerQueue


class PurchaseQueue:
    """Queue of the purchases of a session, which forms while the service rejects purchases with a 429.

    A purchase that is rejected while jobs are open is not retried at once: a purchase is sent when one of them has
    ended, or when `JobsLimit` permits a probe. The open jobs are polled meanwhile. A job whose polls end with an error,
    such as a 404, does not count. Without open jobs, and if polls are rejected too, the retry policy decides when the
    429 is raised.
    """

    def __init__(
        self,
        limiter: RequestLimiter,
        registry: WaitRegistry,
        open_jobs: OpenJobs,
        timers: TimerQueue,
        *,
        retry: RetryPolicy,
        uniform: Callable[[], float],
    ) -> None:
        self.limiter = limiter
        self.timers = timers
        self.loop = asyncio.get_running_loop()
        self.limit = JobsLimit(retry)
        self._registry = registry
        self._uniform = uniform
        self._queue: deque[PurchaseLimiter] = deque()
        self._in_flight = 0
        self._last_rejection: RivyaError | None = None
        self._timer: TimerHandle | None = None
        self._is_dispatch_scheduled = False
        self._closed = False
        self._observer = OpenJobObserver(registry, open_jobs, self.schedule_dispatch)

    def limiter_for(
        self, retry: RetryPolicy, poll: PollPolicy, on_end: Callable[[Generation], None]
    ) -> PurchaseLimiter:
        """Returns the limiter of one purchase.

        While it waits, open jobs are polled by `poll`, and `on_end` is called with the records of those that end.
        """
        return PurchaseLimiter(self, retry, poll, on_end)

    def close(self) -> None:
        """Rejects the purchases in the queue."""
        self._closed = True
        for purchase in self._queue:
            purchase.reject(SessionClosedError(SESSION_CLOSED))
        if self._timer is not None:
            self.timers.cancel(self._timer)

    # --- the queue ----------------------------------------------------------------------------------------------------

    @property
    def must_wait(self) -> bool:
        """True if the next purchase has to join the queue."""
        return self.limit.is_known or bool(self._queue)

    def enqueue(self, purchase: PurchaseLimiter) -> None:
        """Adds a purchase to the queue; the one that has probed the limit stays the first."""
        if self._closed:
            purchase.reject(SessionClosedError(SESSION_CLOSED))
        (self._queue.appendleft if purchase.is_probe else self._queue.append)(purchase)
        self.schedule_dispatch()

    def remove(self, purchase: PurchaseLimiter) -> None:
        """Removes a purchase that no longer waits."""
        if purchase in self._queue:
            self._queue.remove(purchase)
            self.schedule_dispatch()

    def timeout_error(self) -> SubmitTimeoutError:
        """Returns the error of a purchase whose deadline passed in the queue."""
        last = self._last_rejection
        error = SubmitTimeoutError(
            "the timeout passed while the service accepted no further job: nothing was bought. Wait for the end of a "
            "running job, or try again with a longer timeout" + ("" if last is None else f". Last answer: {last}")
        )
        error.__cause__ = None if last is None else copy_error(last)
        return error

    def begin(self, purchase: PurchaseLimiter) -> bool:
        """Counts a purchase that is about to be sent; returns False if it must join the queue again."""
        if not purchase.is_counted:
            if self.limit.is_known:  # it became known while the purchase waited for a slot
                return False
            self._count(purchase)
        purchase.sent_at = self.loop.time()
        return True

    def end(self, purchase: PurchaseLimiter) -> None:
        """Counts the end of an attempt."""
        if purchase.is_counted:
            purchase.is_counted = False
            self._in_flight -= 1
            self.schedule_dispatch()

    def schedule_dispatch(self) -> None:
        """Calls `dispatch` soon: after the purchase that has just been accepted is an open job."""
        if (self._queue or self._observer.is_active) and not self._is_dispatch_scheduled:
            self._is_dispatch_scheduled = True
            self.loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Admits purchases as far as the limit allows, and one more if the next probe is due."""
        self._is_dispatch_scheduled = False
        if self._closed:
            return
        now = self.loop.time()
        while self._queue:
            is_probe = self.limit.is_reached(self._observer.count + self._in_flight)
            if is_probe and now < self.limit.next_probe:
                break
            purchase = self._queue.popleft()
            if not purchase.admit(is_probe=is_probe):
                continue
            if is_probe:
                self.limit.on_probe(now, self._uniform())  # the next one
            if self.limit.is_known:
                self._count(purchase)
        if self._queue:
            self._observer.start(self._queue[0].poll, self._queue[0].on_end)
            self._set_timer(self.limit.next_probe)
        elif not self._in_flight and self._observer.is_active:
            self._observer.stop()

    def fire(self) -> None:
        """Called by the timer when the next probe is due."""
        self._timer = None
        self.dispatch()

    def _count(self, purchase: PurchaseLimiter) -> None:
        purchase.is_counted = True
        self._in_flight += 1

    def _set_timer(self, due: float) -> None:
        if self._timer is None or self._timer.due != due:
            if self._timer is not None:
                self.timers.cancel(self._timer)
            self._timer = self.timers.call_at(due, self)

    # --- responses ----------------------------------------------------------------------------------------------------

    def on_accepted(self, *, is_probe: bool) -> None:
        """Applies an accepted purchase. Called before it is an open job."""
        if not self.limit.is_known:
            return
        self.limit.on_accepted(self.loop.time(), self._observer.count, is_probe=is_probe)
        self.limiter.rate_controller.ignores_purchases = self.limit.is_confirmed
        self.schedule_dispatch()

    def on_rejected(self, purchase: PurchaseLimiter, error: RateLimitError) -> RetryAfterDelay | GiveUp | None:
        """Applies a 429; returns whether the purchase may be tried again, or None if its retry policy decides."""
        controller, polls, open_jobs = self.limiter.rate_controller, self._registry.poll_counts, self._observer.count
        if purchase.deadline is None and not (open_jobs or self._queue or self.limit.is_known):
            return None  # nothing shows that it is a limit of running jobs, and the call cannot wait for long
        now, retry_after = self.loop.time(), retry_after_of(error)
        if self.limit.on_rejected(
            now, purchase.sent_at, open_jobs=open_jobs, polls=polls, retry_after=retry_after, u=self._uniform()
        ):
            controller.ignores_purchases = self.limit.is_confirmed
            if open_jobs and not self.limit.is_confirmed:
                controller.forget_rate()  # if it is a limit of requests, polls are rejected too
            self._last_rejection = copy_error(error)
            self._last_rejection.idempotency_key = None  # it is shown by other purchases
        again = RetryAfterDelay(max(0.0, self.limit.next_probe - now))
        if open_jobs:
            return GiveUp("polls are rejected too") if self.limit.rejects_polls_too(polls) else again
        for waiting in [each for each in self._queue if each.is_exhausted]:
            waiting.reject(_add_advice(copy_error(error)))
        if not purchase.is_exhausted:
            return again
        if not self._queue:
            self.limit.forget()
            controller.ignores_purchases = False
        _add_advice(error)
        return GiveUp("no open job is left to wait for")


class PurchaseLimiter:
    """Limiter of one purchase: the limit of running jobs, then that of requests.

    A purchase that waits for the session's request limiter when the limit becomes known is not sent.
    """

    __slots__ = (
        "_queue",
        "_rejection",
        "_slot",
        "created_at",
        "deadline",
        "earlier_rejections",
        "is_counted",
        "is_probe",
        "on_end",
        "poll",
        "retry",
        "sent_at",
    )

    def __init__(
        self, queue: PurchaseQueue, retry: RetryPolicy, poll: PollPolicy, on_end: Callable[[Generation], None]
    ) -> None:
        self._queue = queue
        self.retry = retry
        self.poll = poll
        self.on_end = on_end
        self.created_at = queue.loop.time()
        self.sent_at = 0.0
        self.earlier_rejections = queue.limit.rejections_without_jobs
        self.deadline: float | None = None
        self.is_counted = False
        """True from its admission to the end of its attempt."""
        self.is_probe = False
        """True if it is or was sent although no job had ended."""
        self._slot: Wakeup | None = None
        self._rejection: RivyaError | None = None

    @property
    def rate_controller(self) -> RateController | None:
        """The rate of the session."""
        return self._queue.limiter.rate_controller

    async def acquire(self, *, deadline: float | None = None) -> None:
        """Waits until the purchase may be sent. Raises `SubmitTimeoutError` at the deadline, or the last 429."""
        queue, self.deadline = self._queue, deadline
        try:
            while True:
                if queue.must_wait:
                    self._slot = slot = Wakeup(queue.loop)
                    timer = None if deadline is None else queue.timers.call_at(deadline, slot)
                    queue.enqueue(self)
                    try:
                        if not await slot:
                            raise self._rejection or queue.timeout_error()
                    finally:
                        if timer is not None:
                            queue.timers.cancel(timer)
                if await queue.limiter.acquire(deadline=deadline, guard=self):
                    return
        except BaseException:
            queue.remove(self)
            queue.end(self)
            raise
        finally:
            self._slot = self._rejection = None

    def release(self) -> None:
        """Gives the slot back."""
        self._queue.limiter.release()
        self._queue.end(self)

    def confirm(self) -> None:
        """Reports that the purchase was accepted."""
        self._queue.on_accepted(is_probe=self.is_probe)

    def decide(self, error: RivyaError) -> RetryAfterDelay | GiveUp | None:
        """Returns the decision after a 429."""
        return self._queue.on_rejected(self, error) if isinstance(error, RateLimitError) else None

    def admit(self, *, is_probe: bool) -> bool:
        """Ends the wait in the queue; returns False if it has ended before."""
        self.is_probe = is_probe
        return self._slot is not None and self._slot.wake()

    @property
    def is_exhausted(self) -> bool:
        """Returns whether the retry policy permits no further attempt while no job is open."""
        return self._queue.limit.is_exhausted(
            self.retry, self.created_at, self.earlier_rejections, has_deadline=self.deadline is not None
        )

    def reject(self, error: RivyaError) -> None:
        """Ends the wait in the queue with an error."""
        self._rejection = error
        if self._slot is not None:
            self._slot.fire()

    def begin(self) -> bool:
        """Counts the purchase when it is about to be sent; returns False if it must join the queue again."""
        return self._queue.begin(self)


def _add_advice(error: RivyaError) -> RivyaError:
    error.message += (
        " No job of this session is open: jobs of other sessions may use up a limit of running jobs. Nothing was "
        "bought: try again when some have ended"
    )
    error.args = (error.message,)
    return error
