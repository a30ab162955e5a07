"""Observes the open jobs of a session while purchases wait for the end of one of them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from ..._core.policies import PollPolicy
from .waiters import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.errors import RivyaError
    from ..._core.open_jobs import OpenJobs
    from ..._core.types.generations import Generation
    from .wait_registry import WaitRegistry

MAX_OBSERVED_JOBS: Final = 1000
"""Maximum number of open jobs, the oldest ones, that are polled."""


class OpenJobObserver(Waiter):
    """Waiter for the ends of all open jobs, which polls them from `start` to `stop`. `on_change` is called at each end.

    Jobs whose polls end with an error do not count until `stop`, since their ends cannot be seen.
    """

    __slots__ = ("_on_change", "_on_end", "_open_jobs", "_registry", "_task_ids", "_unobservable")

    def __init__(self, registry: WaitRegistry, open_jobs: OpenJobs, on_change: Callable[[], None]) -> None:
        super().__init__(registry.loop, PollPolicy())
        self._registry = registry
        self._open_jobs = open_jobs
        self._on_change = on_change
        self._on_end: Callable[[Generation], None] | None = None
        self._task_ids: set[str] = set()
        self._unobservable: set[str] = set()

    @property
    def is_active(self) -> bool:
        """True between `start` and `stop`."""
        return self._on_end is not None

    @property
    def count(self) -> int:
        """The number of open jobs whose ends can be seen."""
        return len(self._open_jobs) - len(self._unobservable)

    def start(self, policy: PollPolicy, on_end: Callable[[Generation], None]) -> None:
        """Polls the open jobs, also those that are new since the last call. Passes terminal records to `on_end`."""
        if self._on_end is None:
            self.policy, self._on_end = policy, on_end
            self._open_jobs.on_removed = self._on_removed
        if len(self._task_ids) >= min(self.count, MAX_OBSERVED_JOBS):
            return
        jobs = islice(self._open_jobs, MAX_OBSERVED_JOBS + len(self._unobservable))
        known = self._task_ids | self._unobservable
        for task_id in [job.task_id for job in jobs if job.task_id not in known]:
            if len(self._task_ids) < MAX_OBSERVED_JOBS:
                self._task_ids.add(task_id)
                self._registry.observe(task_id, self)

    def stop(self) -> None:
        """Ends the polls, except those for other waiters."""
        for task_id in self._task_ids:
            self._registry.stop_observing(task_id, self)
        self._on_end = self._open_jobs.on_removed = None
        self._task_ids.clear()
        self._unobservable.clear()

    def on_terminal(self, generation: Generation) -> None:
        """Reports the end of a job."""
        self._task_ids.discard(generation.id)
        if self._on_end is not None:
            self._on_end(generation)
        self._on_change()

    def on_error(self, task_id: str, error: RivyaError) -> None:  # noqa: ARG002 - every error ends the polls
        """Excludes a job."""
        self._task_ids.discard(task_id)
        if task_id in self._open_jobs:
            self._unobservable.add(task_id)
        self._on_change()

    def _on_removed(self, task_id: str) -> None:
        self._unobservable.discard(task_id)
        self._on_change()
