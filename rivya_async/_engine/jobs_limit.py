"""Purchases under a limit of running jobs: the service rejects them with a 429 while it accepts polls."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from .._core.errors import OutcomeUnknownError, RateLimitError, RivyaError, SessionClosedError, SubmitTimeoutError
from .._core.http.retry import retry_after_of, retry_delay
from .http.call_errors import final_error
from .http.request_limiter import SESSION_CLOSED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.limits.rate_controller import RateController
    from .._core.open_jobs import OpenJobs
    from .._core.policies import PollPolicy, RetryPolicy
    from .._core.types.generations import Generation
    from .polling.wait_registry import WaitRegistry

T = TypeVar("T")

MAX_AWAITED_JOBS: Final = 1000
"""Maximum number of open jobs, the oldest ones, whose ends are awaited."""


class JobsLimit:
    """Lets purchases wait while the service rejects them and jobs of the session are open.

    1. A purchase that is rejected while jobs are open is not retried at once. As many jobs as are open then are assumed
       to be the limit: a purchase is sent when one of them has ended.
    2. Jobs of other sessions count too, and the limit may be one of requests. So the purchase that has waited longest
       also probes it after each delay of the retry policy.
    3. The limit is confirmed once a poll was answered between two rejections. An unconfirmed limit is forgotten when
       such a probe succeeds. The 429 is raised if polls are rejected too, after `max_attempts`.
    """

    def __init__(
        self,
        rate_controller: RateController,
        registry: WaitRegistry,
        open_jobs: OpenJobs,
        *,
        retry: RetryPolicy,
        uniform: Callable[[], float],
    ) -> None:
        self._rate_controller = rate_controller
        self._registry = registry
        self._open_jobs = open_jobs
        self._retry = retry
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self._queue = asyncio.Lock()  # held by the purchase that has waited longest
        self._in_flight = 0
        self._attempt_ended = asyncio.Event()
        self._limit: int | None = None
        self._is_confirmed = False
        self._rejections = 0
        self._rejected_at = 0.0
        self._poll_counts = (0, 0)  # at the first rejection
        self._answered_polls = 0  # at the last rejection
        self._next_probe = 0.0

    async def run(
        self,
        purchase: Callable[[Callable[[RivyaError], bool]], Awaitable[T]],
        deadline: float | None,
        on_end: Callable[[Generation], None],
        poll: PollPolicy,
    ) -> T:
        """Calls `purchase` until the limit does not reject it; passes a function that ends its retries.

        Raises `SubmitTimeoutError` at the deadline, and the 429 if no job of the session is open or polls are rejected
        too. Calls `on_end` with the records of jobs that ended meanwhile, which are polled by `poll`.
        """

        async def wait() -> None:
            await self._wait_for_end(deadline, on_end, poll)

        unknown: OutcomeUnknownError | None = None
        is_jobs_limit = False  # by the error of the latest attempt

        def gives_up(error: RivyaError) -> bool:
            nonlocal is_jobs_limit
            is_jobs_limit = isinstance(error, RateLimitError) and bool(self._open_jobs)
            return is_jobs_limit

        while True:
            try:
                is_probe = await self._admit(deadline, wait)
            except RivyaError as error:
                raise _after(unknown, error) from error.__cause__
            except asyncio.CancelledError as error:
                if unknown is not None:
                    error.add_note(
                        "the service may have bought the job: repeat the call under "
                        f"idempotency_key={unknown.idempotency_key!r}"
                    )
                raise
            sent_at, is_jobs_limit = self._loop.time(), False
            try:
                result = await purchase(gives_up)
            except RivyaError as error:
                if not self._on_error(error, sent_at, is_jobs_limit=is_jobs_limit):
                    raise _after(unknown, error) from error.__cause__
                unknown = error if isinstance(error, OutcomeUnknownError) else unknown  # an earlier attempt may count
            else:
                self._on_accepted(is_probe=is_probe)
                return result
            finally:
                self._in_flight -= 1
                self._attempt_ended.set()

    async def _admit(self, deadline: float | None, wait: Callable[[], Awaitable[None]]) -> bool:
        """Waits until a purchase may be sent. Returns True if it is sent although no job has ended."""
        is_probe = False
        if self._limit is not None or self._queue.locked():
            await _acquire(self._queue, deadline)
            try:
                while not self._is_below_limit() and not is_probe:
                    if self._loop.time() >= self._next_probe:
                        is_probe = True
                        self._next_probe = self._loop.time() + self._delay(None)  # for the next one
                    else:
                        await wait()
            finally:
                self._queue.release()
        self._in_flight += 1
        return is_probe

    def _is_below_limit(self) -> bool:
        return self._limit is None or len(self._open_jobs) + self._in_flight < self._limit

    def _on_accepted(self, *, is_probe: bool) -> None:
        if self._limit is None:
            return
        if is_probe and not self._is_confirmed:
            self._forget_limit()
            return
        self._limit = max(self._limit, len(self._open_jobs) + 1)
        if is_probe:  # more may be accepted
            self._rejections, self._next_probe = 0, self._loop.time()

    def _on_error(self, error: RivyaError, sent_at: float, *, is_jobs_limit: bool) -> bool:
        """Returns True if the purchase may be tried again."""
        if is_jobs_limit:
            self._on_rejected(error, sent_at)
            return not self._rejects_polls_too()
        if isinstance(error, RateLimitError):  # no job is open, so nothing is left to wait for
            self._forget_limit()
        return False

    def _forget_limit(self) -> None:
        self._limit = None
        self._is_confirmed = self._rate_controller.ignores_purchases = False

    def _on_rejected(self, error: RivyaError, sent_at: float) -> None:
        counts = self._registry.poll_counts
        if self._limit is None:
            self._rejections, self._poll_counts = 0, counts
        if self._limit is None or sent_at >= self._rejected_at:  # purchases sent before the last 429 add nothing
            if self._limit is not None and counts[0] > self._answered_polls:
                self._is_confirmed = self._rate_controller.ignores_purchases = True
            if not self._is_confirmed:
                self._rate_controller.forget_rate()  # if it is a limit of requests, polls are rejected too
            self._rejections += 1
            self._rejected_at, self._answered_polls = self._loop.time(), counts[0]
            self._next_probe = self._rejected_at + self._delay(retry_after_of(error))
        self._limit = max(len(self._open_jobs), 1)

    def _delay(self, retry_after: float | None) -> float:
        """Returns the seconds until the next probe. Equal jitter: a full one, or a `Retry-After` of 0, is too short."""
        delay = retry_delay(self._retry, max(self._rejections - 1, 0), 0.5 + self._uniform() / 2)
        return delay if retry_after is None else max(delay, min(retry_after, self._retry.cap))

    def _rejects_polls_too(self) -> bool:
        """Returns True if the service has rejected polls since the first 429, and answered none."""
        (answered, rejected), (now_answered, now_rejected) = self._poll_counts, self._registry.poll_counts
        is_exhausted = self._rejections >= self._retry.max_attempts and not self._is_confirmed
        return is_exhausted and now_rejected > rejected and now_answered == answered

    async def _wait_for_end(
        self, deadline: float | None, on_end: Callable[[Generation], None], poll: PollPolicy
    ) -> None:
        """Waits until an open job, or without one another purchase, has ended, or until the next probe."""
        until = self._next_probe if deadline is None else min(self._next_probe, deadline)
        self._attempt_ended.clear()
        task_ids = [job.task_id for job in islice(self._open_jobs, MAX_AWAITED_JOBS)]
        ends = self._registry.as_completed(dict.fromkeys(task_ids), poll, None)
        try:
            async with aclosing(ends), asyncio.timeout_at(until):
                async for ended in ends:
                    on_end(ended)
                    return
                await self._attempt_ended.wait()
        except TimeoutError:
            pass
        except SessionClosedError:
            raise SessionClosedError(SESSION_CLOSED) from None  # its own error names the job that was awaited
        except (RivyaError, ExceptionGroup):  # no job can be waited for
            await asyncio.sleep(until - self._loop.time())
        if deadline is not None and self._loop.time() >= deadline:
            raise _timeout_error()


async def _acquire(lock: asyncio.Lock, deadline: float | None) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        raise _timeout_error() from None


def _after(unknown: OutcomeUnknownError | None, error: RivyaError) -> RivyaError:
    """Returns the error to raise, which has the key if an earlier attempt may have been processed."""
    if unknown is None or error is unknown:
        return error
    error.idempotency_key = unknown.idempotency_key
    return final_error(error, ambiguous=True)


def _timeout_error() -> SubmitTimeoutError:
    return SubmitTimeoutError(
        "the timeout passed while the service ran too many jobs to accept this one: nothing was bought"
    )
