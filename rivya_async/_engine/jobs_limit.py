"""Purchases under a limit of running jobs: the service rejects them with a 429 while it accepts polls."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from .._core.errors import RateLimitError, RivyaError, SessionClosedError, SubmitTimeoutError, copy_error
from .._core.http.retry import GiveUp, RetryAfterDelay, retry_after_of, retry_delay
from .http.request_limiter import SESSION_CLOSED
from .polling.waiters import Waiter
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

MAX_OBSERVED_JOBS: Final = 1000
"""Maximum number of open jobs, the oldest ones, whose ends are awaited."""

QUEUE_AGAIN: Final = RetryAfterDelay(0.0)
"""Decision to try again without a delay, since `acquire` waits."""


class JobsLimit:
    """Queue of the purchases of a session, which forms while the service rejects purchases with a 429.

    1. A purchase that is rejected while jobs are open is not retried at once. As many jobs as are open then are assumed
       to be the limit: a purchase is sent when one of them has ended. The open jobs are polled meanwhile. A job whose
       polls end with an error, such as a 404, does not count.
    2. Jobs of other sessions count too, and the limit may be one of requests. So the purchase that has waited longest
       also probes it after each delay of the retry policy.
    3. The limit is confirmed once a poll was answered between two rejections. An unconfirmed limit is forgotten when
       such a probe succeeds. The 429 is raised if polls are rejected too, after `max_attempts`.
    4. Without open jobs there are only probes. A purchase raises the 429 after `max_attempts` of them, or after
       `max_elapsed`. Only `max_elapsed` counts for a purchase with a deadline, since it may wait.
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
        self.rejections_without_jobs = 0
        """Number of 429s since the last accepted purchase or open job."""
        self._registry = registry
        self._open_jobs = open_jobs
        open_jobs.on_removed = self._on_job_removed
        self._retry = retry
        self._uniform = uniform
        self._queue: deque[PurchaseLimiter] = deque()
        self._in_flight = 0
        self._limit: int | None = None
        self._is_confirmed = False
        self._rejections = 0
        self._rejected_at = 0.0
        self._first_rejection_without_jobs = 0.0
        self._last_rejection: RivyaError | None = None
        self._poll_counts = (0, 0)  # at the first rejection
        self._answered_polls = 0  # at the last rejection
        self._next_probe = 0.0
        self._timer: TimerHandle | None = None
        self._is_dispatch_scheduled = False
        self._closed = False
        self._observer: _JobObserver | None = None
        self._unobservable: set[str] = set()

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

    def must_wait(self) -> bool:
        """Returns whether the next purchase has to join the queue."""
        return self._limit is not None or bool(self._queue)

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
            if self._limit is not None:  # the limit became known while the purchase waited for a slot
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
        if (self._queue or self._observer is not None) and not self._is_dispatch_scheduled:
            self._is_dispatch_scheduled = True
            self.loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Admits purchases as far as the limit allows, and one more if the next probe is due."""
        self._is_dispatch_scheduled = False
        if self._closed:
            return
        now = self.loop.time()
        while self._queue:
            is_probe = self._limit is not None and self._count_open() + self._in_flight >= self._limit
            if is_probe and now < self._next_probe:
                break
            purchase = self._queue.popleft()
            if not purchase.admit(is_probe=is_probe):
                continue
            if is_probe:
                self._next_probe = now + self._delay(None)  # for the next one
            if self._limit is not None:
                self._count(purchase)
        if self._queue:
            self._observe_jobs(self._queue[0])
            self._set_timer()
        elif not self._in_flight:
            self._stop_observing()

    def fire(self) -> None:
        """Called by the timer when the next probe is due."""
        self._timer = None
        self.dispatch()

    def _count(self, purchase: PurchaseLimiter) -> None:
        purchase.is_counted = True
        self._in_flight += 1

    def _set_timer(self) -> None:
        if self._timer is None or self._timer.due != self._next_probe:
            if self._timer is not None:
                self.timers.cancel(self._timer)
            self._timer = self.timers.call_at(self._next_probe, self)

    # --- the limit ----------------------------------------------------------------------------------------------------

    def on_accepted(self, *, is_probe: bool) -> None:
        """Raises or forgets the limit. Called before the purchase is an open job."""
        self.rejections_without_jobs = 0
        if self._limit is None:
            return
        if is_probe and not self._is_confirmed:
            self._forget_limit()
        else:
            self._limit = max(self._limit, self._count_open() + 1)
            if is_probe:  # more may be accepted
                self._rejections, self._next_probe = 0, self.loop.time()
        self.schedule_dispatch()

    def on_rejected(self, purchase: PurchaseLimiter, error: RateLimitError) -> RetryAfterDelay | GiveUp:
        """Sets the limit; returns whether the purchase may be tried again."""
        self._count_rejection(purchase.sent_at, error)
        self._limit = self._count_open()
        if self._limit:
            return GiveUp("polls are rejected too") if self._rejects_polls_too() else QUEUE_AGAIN
        for waiting in [each for each in self._queue if self._is_exhausted(each)]:
            waiting.reject(self._add_advice(copy_error(error)))
        if not self._is_exhausted(purchase):
            return QUEUE_AGAIN
        if not self._queue:
            self._forget_limit()
        self._add_advice(error)
        return GiveUp("no open job is left to wait for")

    def _count_rejection(self, sent_at: float, error: RateLimitError) -> None:
        polls = self._registry.poll_counts
        is_first, has_open_jobs = self._limit is None, self._count_open() > 0
        if is_first:
            self._rejections, self._poll_counts = 0, polls
        elif sent_at < self._rejected_at:  # purchases sent before the last 429 add nothing
            return
        if not is_first and polls[0] > self._answered_polls:
            self._is_confirmed = self.limiter.rate_controller.ignores_purchases = True
        if has_open_jobs and not self._is_confirmed:
            self.limiter.rate_controller.forget_rate()  # if it is a limit of requests, polls are rejected too
        now = self.loop.time()
        self._rejections += 1
        self._rejected_at, self._answered_polls = now, polls[0]
        self._next_probe = now + self._delay(retry_after_of(error))
        self._last_rejection = copy_error(error)
        self._last_rejection.idempotency_key = None  # it is shown by other purchases
        if has_open_jobs:
            self.rejections_without_jobs = 0
            return
        if not self.rejections_without_jobs:
            self._first_rejection_without_jobs = now
        self.rejections_without_jobs += 1

    def _forget_limit(self) -> None:
        self._limit = None
        self._is_confirmed = self.limiter.rate_controller.ignores_purchases = False
        self.rejections_without_jobs = 0

    def _is_exhausted(self, purchase: PurchaseLimiter) -> bool:
        """Returns whether the retry policy permits no further probe, while no job is open."""
        retry, began = purchase.retry, max(purchase.created_at, self._first_rejection_without_jobs)
        if self._next_probe - began > retry.max_elapsed or retry.max_attempts == 1:
            return True
        is_newer = purchase.created_at > self._first_rejection_without_jobs
        rejections = self.rejections_without_jobs - (purchase.earlier_rejections if is_newer else 0)
        return purchase.deadline is None and rejections >= retry.max_attempts

    def _add_advice(self, error: RivyaError) -> RivyaError:
        error.message += (
            " No job of this session is open: jobs of other sessions may use up a limit of running jobs. Nothing was "
            "bought: try again when some have ended"
        )
        error.args = (error.message,)
        return error

    def _delay(self, retry_after: float | None) -> float:
        """Returns the seconds until the next probe. Equal jitter: a full one, or a `Retry-After` of 0, is too short."""
        delay = retry_delay(self._retry, max(self._rejections - 1, 0), 0.5 + self._uniform() / 2)
        return delay if retry_after is None else max(delay, min(retry_after, self._retry.cap))

    def _rejects_polls_too(self) -> bool:
        """Returns True if the service has rejected polls since the first 429, and answered none."""
        (answered, rejected), (now_answered, now_rejected) = self._poll_counts, self._registry.poll_counts
        is_exhausted = self._rejections >= self._retry.max_attempts and not self._is_confirmed
        return is_exhausted and now_rejected > rejected and now_answered == answered

    # --- open jobs ----------------------------------------------------------------------------------------------------

    def _count_open(self) -> int:
        return len(self._open_jobs) - len(self._unobservable)

    def _observe_jobs(self, purchase: PurchaseLimiter) -> None:
        """Polls the open jobs until `_stop_observing`: each once, however many purchases wait."""
        if self._observer is None:
            self._observer = _JobObserver(self, purchase)
        observed = self._observer.task_ids
        if len(observed) >= min(self._count_open(), MAX_OBSERVED_JOBS):
            return
        jobs = islice(self._open_jobs, MAX_OBSERVED_JOBS + len(self._unobservable))
        for task_id in [job.task_id for job in jobs]:
            if task_id not in observed and task_id not in self._unobservable and len(observed) < MAX_OBSERVED_JOBS:
                observed.add(task_id)
                self._registry.observe(task_id, self._observer)

    def _stop_observing(self) -> None:
        if self._observer is not None:
            for task_id in self._observer.task_ids:
                self._registry.stop_observing(task_id, self._observer)
            self._observer = None

    def on_unobservable(self, task_id: str) -> None:
        """Excludes a job whose polls ended with an error, since its end cannot be seen."""
        if task_id in self._open_jobs:
            self._unobservable.add(task_id)
        self.schedule_dispatch()

    def _on_job_removed(self, task_id: str) -> None:
        self._unobservable.discard(task_id)
        self.schedule_dispatch()


class PurchaseLimiter:
    """Limiter of one purchase: the limit of running jobs, then that of requests.

    A purchase that waits for the session's request limiter when the limit becomes known is not sent.
    """

    __slots__ = (
        "_jobs",
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
        self, jobs: JobsLimit, retry: RetryPolicy, poll: PollPolicy, on_end: Callable[[Generation], None]
    ) -> None:
        self._jobs = jobs
        self.retry = retry
        self.poll = poll
        self.on_end = on_end
        self.created_at = jobs.loop.time()
        self.sent_at = 0.0
        self.earlier_rejections = jobs.rejections_without_jobs
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
        return self._jobs.limiter.rate_controller

    async def acquire(self, *, deadline: float | None = None) -> None:
        """Waits until the purchase may be sent. Raises `SubmitTimeoutError` at the deadline, or the last 429."""
        jobs, self.deadline = self._jobs, deadline
        try:
            while True:
                if jobs.must_wait():
                    self._slot = slot = Wakeup(jobs.loop)
                    timer = None if deadline is None else jobs.timers.call_at(deadline, slot)
                    jobs.enqueue(self)
                    try:
                        if not await slot:
                            raise self._rejection or jobs.timeout_error()
                    finally:
                        if timer is not None:
                            jobs.timers.cancel(timer)
                if await jobs.limiter.acquire(deadline=deadline, guard=self):
                    return
        except BaseException:
            jobs.remove(self)
            jobs.end(self)
            raise
        finally:
            self._slot = self._rejection = None

    def release(self) -> None:
        """Gives the slot back."""
        self._jobs.limiter.release()
        self._jobs.end(self)

    def confirm(self) -> None:
        """Reports that the purchase was accepted."""
        self._jobs.on_accepted(is_probe=self.is_probe)

    def decide(self, error: RivyaError) -> RetryAfterDelay | GiveUp | None:
        """Returns the decision after a 429."""
        return self._jobs.on_rejected(self, error) if isinstance(error, RateLimitError) else None

    def admit(self, *, is_probe: bool) -> bool:
        """Ends the wait in the queue; returns False if it has ended before."""
        self.is_probe = is_probe
        return self._slot is not None and self._slot.wake()

    def reject(self, error: RivyaError) -> None:
        """Ends the wait in the queue with an error."""
        self._rejection = error
        if self._slot is not None:
            self._slot.fire()

    def begin(self) -> bool:
        """Counts the purchase when it is about to be sent; returns False if it must join the queue again."""
        return self._jobs.begin(self)


class _JobObserver(Waiter):
    """Waiter for the ends of open jobs, which does not wait itself."""

    __slots__ = ("_jobs", "_on_end", "task_ids")

    def __init__(self, jobs: JobsLimit, purchase: PurchaseLimiter) -> None:
        super().__init__(jobs.loop, purchase.poll)
        self._jobs = jobs
        self._on_end = purchase.on_end
        self.task_ids: set[str] = set()

    def on_terminal(self, generation: Generation) -> None:
        """Reports the end of a job."""
        self.task_ids.discard(generation.id)
        self._on_end(generation)
        self._jobs.schedule_dispatch()

    def on_error(self, task_id: str, error: RivyaError) -> None:  # noqa: ARG002 - every error ends the polls
        """Reports that the end of a job cannot be seen."""
        self.task_ids.discard(task_id)
        self._jobs.on_unobservable(task_id)
