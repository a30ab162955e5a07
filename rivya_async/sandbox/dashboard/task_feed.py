"""The tasks as one watcher knows them: what has changed since the last look. Pure: it is told the time.

A look costs as much as has changed, however many tasks there are.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

from .. import results
from ..service_state import ServiceState
from ..task import Task

MOST_TASKS: Final = 200
"""The newest are shown; older ones are counted."""

MOST_CHARACTERS: Final = 400
"""Of a prompt."""

STATUSES: Final = ("queued", "processing", "succeeded", "failed")


class TaskFeed:
    """The newest tasks of a world, and how many there are in each status."""

    def __init__(self, world: ServiceState) -> None:
        self._world = world
        self._counts: Counter[str] = Counter()
        self._shown: deque[str] = deque(maxlen=MOST_TASKS)
        self._turns: list[tuple[float, int, str, Task]] = []
        self._numbers = itertools.count()

    def changed(self, now: float) -> list[dict[str, Any]]:
        """The tasks that are new, or in another status than at the last look; of those shown, the oldest first."""
        changed = {task.id: task for task in self._new(now)}
        while self._turns and self._turns[0][0] <= now:
            _, _, left, task = heapq.heappop(self._turns)
            self._counts[left] -= 1
            self._enter(task, now)
            changed[task.id] = task
        shown = set(self._shown) if changed else ()
        return [told(task, now) for task in changed.values() if task.id in shown]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many tasks were in each status at the last look."""
        return {status: self._counts[status] for status in STATUSES}

    def _new(self, now: float) -> list[Task]:
        tasks = self._world.tasks
        new = list(itertools.islice(reversed(tasks.values()), len(tasks) - self._counts.total()))[::-1]
        for task in new:
            self._enter(task, now)
            self._shown.append(task.id)
        return new

    def _enter(self, task: Task, now: float) -> None:
        status = task.status(now)
        self._counts[status] += 1
        if now < task.ends_at:
            leaves_at = task.starts_at if status == "queued" else task.ends_at
            heapq.heappush(self._turns, (leaves_at, next(self._numbers), status, task))


def told(task: Task, now: float) -> dict[str, Any]:
    """A task as the page is told of it. Instants are epoch seconds; the end is known, since the world drew it."""
    status = task.status(now)
    return {
        "id": task.id,
        "account": task.account_id,
        "model": task.model,
        "category": task.category,
        "prompt": task.prompt[:MOST_CHARACTERS],
        "status": status,
        "credits": 0 if status == "failed" else task.reserved_credits,
        "created_at": task.created_at,
        "starts_at": task.starts_at,
        "ends_at": task.ends_at,
        "failure": task.failure if status == "failed" else None,
        "files": [f"/sandbox/results/{task.id}/{name}" for name in results.names(task)]
        if status == "succeeded"
        else [],
    }
