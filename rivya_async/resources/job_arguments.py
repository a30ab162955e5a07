"""The arguments of the methods that buy jobs and wait for them: their validation, and progress callbacks."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Final, TypeAlias, TypeVar

from .._core.errors import ConfigurationError
from .._core.generation_request import Outcome
from .._core.open_jobs import list_ids
from .._core.policies import NotGiven, PollPolicy, validate_timeout
from .._core.types.generations import Generation
from .._core.types.progress import Progress, ProgressCounter
from .._engine.polling.waiters import notify_listener

T = TypeVar("T", Outcome, Generation)

MAX_LISTED_UNREAD: Final = 100
"""Maximum number of task ids in the warning of an abandoned map: as many jobs as it has in flight by default."""

OnJobProgress: TypeAlias = Callable[[Progress], object]
"""A plain or async function that is called with the numbers of done, failed and open jobs."""


async def report_progress(
    items: AsyncGenerator[T], counter: ProgressCounter, on_progress: OnJobProgress | None
) -> AsyncGenerator[T]:
    """Yields the same items, and reports the end of each job."""
    if on_progress is not None:
        await notify_listener(on_progress, counter.measure(loop_time()))
    async for item in items:
        if on_progress is not None:
            if isinstance(item, Outcome):
                counter.add(item.generation, succeeded=item.ok)
            else:
                counter.add(item, succeeded=item.succeeded)
            await notify_listener(on_progress, counter.measure(loop_time()))
        yield item


def warn_unread(task_ids: Collection[str]) -> None:
    """Warns of paid jobs that have ended in a loop that was left before they were yielded."""
    if task_ids:
        logging.getLogger("rivya_async").warning(
            "map was left before it yielded %d ended %s: %s. Paid results are kept at the service: read them with "
            "generations.retrieve(task_id). session.spend names all task ids",
            len(task_ids),
            "job" if len(task_ids) == 1 else "jobs",
            list_ids(task_ids, MAX_LISTED_UNREAD),
        )


def loop_time() -> float:
    """Returns the time of the running loop."""
    return asyncio.get_running_loop().time()


def compute_deadline(timeout: float | NotGiven | None, policy: PollPolicy) -> float | None:
    """Returns the deadline on the loop's clock."""
    seconds = policy.timeout if isinstance(timeout, NotGiven) else validate_timeout(timeout)
    return None if seconds is None or seconds == math.inf else loop_time() + seconds


def identify_job(job: Generation | str) -> tuple[str, Generation | None]:
    """Returns the task id of a job, and its record if it is given."""
    if isinstance(job, Generation):
        return job.id, job
    if not isinstance(job, str) or not job.strip(". "):
        raise ConfigurationError(f"wait for a Generation or a task id, not for {job!r}")
    return job, None
