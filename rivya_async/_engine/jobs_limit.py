"""Purchases under a limit of running jobs: the service rejects them with a 429 while it accepts polls."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from .._core.errors import RateLimitError, RivyaError, SessionClosedError, SubmitTimeoutError
from .._core.policies import PollPolicy
from .http.request_limiter import SESSION_CLOSED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.limits.rate_controller import RateController
    from .._core.open_jobs import OpenJobs
    from .._core.types.generations import Generation
    from .polling.wait_registry import WaitRegistry

T = TypeVar("T")

MIN_REJECTIONS: Final = 2
"""429s of one purchase, with an answered poll between them, that show a limit of running jobs."""

MAX_PROBE_INTERVAL: Final = 60.0
"""Maximum seconds between two attempts: jobs of other processes count against the limit too."""

MAX_AWAITED_JOBS: Final = 1000
"""Maximum number of open jobs, the oldest ones, whose ends are awaited."""


class JobsLimit:
    """Lets purchases wait for the end of a running job of the session. One purchase at a time tries again."""

    def __init__(self, rate_controller: RateController, registry: WaitRegistry, open_jobs: OpenJobs) -> None:
        self._rate_controller = rate_controller
        self._registry = registry
        self._open_jobs = open_jobs
        self._turn = asyncio.Lock()

    async def run(
        self,
        purchase: Callable[[Callable[[RivyaError], bool]], Awaitable[T]],
        deadline: float | None,
        on_end: Callable[[Generation], None],
    ) -> T:
        """Calls `purchase` until the limit does not reject it; passes a function that ends its retries.

        Raises `SubmitTimeoutError` at the deadline, and the 429 if no job of the session is open or polls are rejected
        too. Calls `on_end` with the records of jobs that ended meanwhile.
        """
        if not self._turn.locked():
            answered, rejected = self._registry.poll_counts
            try:
                return await purchase(lambda error: self._is_reached(error, answered))
            except RateLimitError:
                if not self._open_jobs or self._polls_are_rejected(answered, rejected):
                    raise
        await _acquire(self._turn, deadline)
        try:
            while True:
                ended, (answered, rejected) = self._open_jobs.ended, self._registry.poll_counts
                try:
                    return await purchase(lambda error: isinstance(error, RateLimitError))
                except RateLimitError as error:
                    if not self._open_jobs or self._polls_are_rejected(answered, rejected):
                        raise
                    self._rate_controller.ignores_purchases = True
                    if self._open_jobs.ended == ended:
                        await self._wait_for_end(error, deadline, on_end)
        finally:
            self._rate_controller.ignores_purchases = False
            self._turn.release()

    def _is_reached(self, error: RivyaError, answered: int) -> bool:
        """Returns whether a 429 comes from a limit of running jobs."""
        if not isinstance(error, RateLimitError) or not self._open_jobs:
            return False
        has_evidence = error.attempts >= MIN_REJECTIONS and self._registry.poll_counts[0] > answered
        return has_evidence or self._turn.locked()

    def _polls_are_rejected(self, answered: int, rejected: int) -> bool:
        """Returns whether the service rejected polls since these counts, and answered none: its limit is a rate."""
        now_answered, now_rejected = self._registry.poll_counts
        return now_rejected > rejected and now_answered == answered

    async def _wait_for_end(
        self, rejection: RateLimitError, deadline: float | None, on_end: Callable[[Generation], None]
    ) -> None:
        """Waits until an open job has ended. Raises the 429 if no job can be waited for."""
        task_ids = [job.task_id for job in islice(self._open_jobs, MAX_AWAITED_JOBS)]
        latest = asyncio.get_running_loop().time() + MAX_PROBE_INTERVAL
        ends = self._registry.as_completed(dict.fromkeys(task_ids), PollPolicy(), None)
        async with aclosing(ends):
            try:
                async with asyncio.timeout_at(latest if deadline is None else min(latest, deadline)):
                    async for ended in ends:
                        on_end(ended)
                        return
            except TimeoutError:
                if deadline is not None and deadline <= latest:
                    raise _timeout_error() from rejection
                return
            except SessionClosedError:
                raise SessionClosedError(SESSION_CLOSED) from None  # its own error names the job that was awaited
            except (RivyaError, ExceptionGroup):
                raise rejection from None
        raise rejection


async def _acquire(lock: asyncio.Lock, deadline: float | None) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        raise _timeout_error() from None


def _timeout_error() -> SubmitTimeoutError:
    return SubmitTimeoutError(
        "the timeout passed while the service ran too many jobs to accept this one: nothing was bought"
    )
