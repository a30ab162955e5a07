"""Open jobs of a session: bought by it, and not seen to end. Also those whose end its caller has not received."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import attrs

from .public_module import set_public_module
from .types.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from .types.generations import Generation

MAX_OPEN_JOBS: Final = 100_000
"""Maximum number of open jobs that are remembered. The oldest is dropped first."""

MAX_LISTED_JOBS: Final = 20
"""Maximum number of task ids in the warning of a closing session."""


@attrs.frozen
class OpenJob(Record):
    """Job that a session bought and has not seen end."""

    task_id: str
    """Task id of the job: wait for it with `wait_for`."""
    idempotency_key: str
    """Idempotency key of the purchase."""
    model: str
    """Id of the model."""
    client_request_id: str | None
    """Your id of the job."""
    submitted_at: float
    """Time of the purchase in seconds since 1970."""


class OpenJobs:
    """Open jobs by task id, in the order of their purchases."""

    def __init__(self) -> None:
        self.on_removed: Callable[[str], None] | None = None
        """Called with the task id of each job that is removed."""
        self._jobs: dict[str, OpenJob] = {}
        self._ended: dict[str, OpenJob] = {}
        self._is_reported = False

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._jobs

    def __iter__(self) -> Iterator[OpenJob]:
        return iter(self._jobs.values())

    @property
    def undelivered(self) -> Iterator[OpenJob]:
        """The jobs whose end the caller has not received: the ended ones, then the open ones."""
        return chain(self._ended.values(), self._jobs.values())

    def get(self, task_id: str) -> OpenJob | None:
        """Returns an open job by its task id."""
        return self._jobs.get(task_id)

    def add(self, job: OpenJob) -> None:
        """Adds a purchased job."""
        self._jobs[job.task_id] = job
        if len(self._jobs) > MAX_OPEN_JOBS:
            self._remove(next(iter(self._jobs)))

    def on_generation(self, generation: Generation) -> None:
        """Removes a job that has ended. The caller receives its record."""
        if generation.is_terminal:
            self.deliver(generation.id)
            if generation.id in self._jobs:
                self._remove(generation.id)

    def add_ended(self, job: OpenJob) -> None:
        """Adds a job that has ended, and whose record the caller has not received."""
        self._ended[job.task_id] = job
        if len(self._ended) > MAX_OPEN_JOBS:
            del self._ended[next(iter(self._ended))]

    def deliver(self, task_id: str) -> None:
        """Removes an ended job, whose record the caller receives."""
        self._ended.pop(task_id, None)

    def closing_warning(self) -> str | None:
        """Returns the warning for the end of the session; None the second time, and without open jobs."""
        if self._is_reported or not self._jobs:
            return None
        self._is_reported = True
        count = len(self._jobs)
        return (
            f"the session ends with {count} open {'job' if count == 1 else 'jobs'}: {list_ids(self._jobs)}. Paid jobs "
            "go on: call wait_for(task_id) in another session. open_jobs lists them all"
        )

    def _remove(self, task_id: str) -> None:
        del self._jobs[task_id]
        if self.on_removed is not None:
            self.on_removed(task_id)


def list_ids(task_ids: Collection[str], limit: int = MAX_LISTED_JOBS) -> str:
    """Returns the first `limit` task ids as text for a warning."""
    listed = ", ".join(islice(task_ids, limit))
    return f"{listed} and {len(task_ids) - limit} more" if len(task_ids) > limit else listed


set_public_module("rivya_async", OpenJob)
