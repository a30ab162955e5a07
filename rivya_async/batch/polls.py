"""How often the jobs of a batch were looked at."""

from __future__ import annotations

from .._engine.hooks import Hooks, PollDetails


class PollCounter(Hooks):
    """Counts the polls of the jobs that it was told of. One session may wait for many others besides."""

    def __init__(self) -> None:
        self._polls: dict[str, int] = {}

    def begin(self, task_id: str) -> None:
        """Count the polls of this job from now on."""
        self._polls[task_id] = 0

    def end(self, task_id: str) -> int:
        """How many there were; they are counted no more."""
        return self._polls.pop(task_id, 0)

    def on_poll(self, details: PollDetails) -> None:
        """Count one."""
        if details.task_id in self._polls:
            self._polls[details.task_id] += 1
