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
    from collections.abc import Callable

    from .._core.http.operations import Operation
    from .._core.limits.rate_controller import RateController
    from .._core.open_jobs import OpenJobs
    from .._core.types.generations import Generation
    from .http.request_executor import RequestExecutor
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

    def check(self) -> LimitCheck | None:
        """Returns the check of a purchase; None while purchases wait for their turn: then call `run`."""
        return None if self._turn.locked() else LimitCheck(self, *self._registry.poll_counts)

    async def run(
        self,
        executor: RequestExecutor,
        operation: Operation[T],
        deadline: float | None,
        on_end: Callable[[Generation], None],
    ) -> T:
        """Executes a purchase until the limit does not reject it.

        Raises `SubmitTimeoutError` at the deadline, and the 429 if no job of the session is open or polls are rejected
        too. Calls `on_end` with the records of jobs that ended meanwhile.
        """
        await _acquire(self._turn, deadline)
        try:
            while True:
                ended, (answered, rejected) = self._open_jobs.ended, self._registry.poll_counts
                try:
                    return await executor.execute(operation, deadline=deadline, gives_up=_is_rejection)
                except RateLimitError as error:
                    if not self.may_wait(answered, rejected):
                        raise
                    self._rate_controller.ignores_purchases = True
                    if self._open_jobs.ended == ended:
                        await self._wait_for_end(error, deadline, on_end)
        finally:
            self._rate_controller.ignores_purchases = False
            self._turn.release()

    def is_reached(self, error: RivyaError, answered: int) -> bool:
        """Returns whether a 429 comes from a limit of running jobs."""
        if not isinstance(error, RateLimitError) or not self._open_jobs:
            return False
        has_evidence = error.attempts >= MIN_REJECTIONS and self._registry.poll_counts[0] > answered
        return has_evidence or self._turn.locked()

    def may_wait(self, answered: int, rejected: int) -> bool:
        """Returns whether the end of a job may help after a 429.

        It cannot if no job is open, nor if the service rejected polls since these counts and answered none: its limit
        is a rate.
        """
        now_answered, now_rejected = self._registry.poll_counts
        return bool(self._open_jobs) and not (now_rejected > rejected and now_answered == answered)

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


class LimitCheck:
    """The first attempts of a purchase. Called with an error, it returns whether a limit of running jobs is the cause.

    A closure would need four times the memory for each queued purchase.
    """

    __slots__ = ("_answered", "_limit", "_rejected")

    def __init__(self, limit: JobsLimit, answered: int, rejected: int) -> None:
        self._limit = limit
        self._answered = answered
        self._rejected = rejected

    def __call__(self, error: RivyaError) -> bool:
        return self._limit.is_reached(error, self._answered)

    @property
    def may_wait(self) -> bool:
        """True if the end of a job may help after a 429."""
        return self._limit.may_wait(self._answered, self._rejected)


def _is_rejection(error: RivyaError) -> bool:
    return isinstance(error, RateLimitError)


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
