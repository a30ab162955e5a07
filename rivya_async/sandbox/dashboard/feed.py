"""The events of one open dashboard: the parts of its state that changed since the previous event."""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..api import Api
from ..results import result_names
from ..service_state import ServiceState
from ..task import Task
from .fault_toggles import FaultToggles

MAX_TASKS: Final = 200
"""Newest tasks that are sent; older ones are counted."""

MAX_PROMPT_LENGTH: Final = 400
"""Characters of a prompt that are sent."""

MAX_DELIVERIES: Final = 30
"""Newest webhook deliveries that are sent."""

STATUSES: Final = ("queued", "processing", "succeeded", "failed")


class TaskFeed:
    """The newest tasks and the number of tasks by status. The cost of an update follows the number of changes."""

    def __init__(self, service_state: ServiceState) -> None:
        self._service_state = service_state
        self._counts: Counter[str] = Counter()
        self._newest: deque[str] = deque(maxlen=MAX_TASKS)
        self._transitions: list[tuple[float, int, str, Task]] = []
        self._numbers = itertools.count()

    def poll_changes(self, now: float) -> list[dict[str, Any]]:
        """Returns those of the newest tasks that are new or changed their status, the oldest first."""
        changed = {task.id: task for task in self._add_new(now)}
        while self._transitions and self._transitions[0][0] <= now:
            _, _, old_status, task = heapq.heappop(self._transitions)
            self._counts[old_status] -= 1
            self._enter_status(task, now)
            changed[task.id] = task
        newest = set(self._newest) if changed else ()
        return [_encode_task(task, now) for task in changed.values() if task.id in newest]

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of tasks by status at the last update."""
        return {status: self._counts[status] for status in STATUSES}

    def _add_new(self, now: float) -> list[Task]:
        tasks = self._service_state.tasks
        new = list(itertools.islice(reversed(tasks.values()), len(tasks) - self._counts.total()))[::-1]
        for task in new:
            self._enter_status(task, now)
            self._newest.append(task.id)
        return new

    def _enter_status(self, task: Task, now: float) -> None:
        status = task.status(now)
        self._counts[status] += 1
        if now < task.ends_at:
            leaves_at = task.starts_at if status == "queued" else task.ends_at
            heapq.heappush(self._transitions, (leaves_at, next(self._numbers), status, task))


def _encode_task(task: Task, now: float) -> dict[str, Any]:
    status = task.status(now)
    names = result_names(task) if status == "succeeded" else ()
    return {
        "id": task.id,
        "account": task.account_id,
        "model": task.model,
        "category": task.category,
        "prompt": task.prompt[:MAX_PROMPT_LENGTH],
        "status": status,
        "credits": 0 if status == "failed" else task.reserved_credits,
        "created_at": task.created_at,
        "starts_at": task.starts_at,
        "ends_at": task.ends_at,
        "failure": task.failure if status == "failed" else None,
        "files": [f"/sandbox/results/{task.id}/{name}" for name in names],
    }


class DashboardFeed:
    """The changes of a sandbox since the previous event. `clock` returns epoch seconds."""

    def __init__(self, api: Api, toggles: FaultToggles, clock: Callable[[], float]) -> None:
        self._api = api
        self._toggles = toggles
        self._clock = clock
        self._tasks = TaskFeed(api.service_state)
        self._sent: dict[str, Any] = {}

    def next_event(self) -> bytes | None:
        """Returns the next server-sent event; None without changes."""
        now = self._clock()
        tasks = self._tasks.poll_changes(now)
        state = self._api.service_state
        parts = {
            "sandbox": {"base_url": state.base_url, "speed": state.speed},
            "counts": self._tasks.counts,
            "credits": sum(state.available_credits(account, now) for account in state.accounts),
            "faults": self._toggles.to_json(),
            "requests": self._encode_requests(),
            "deliveries": [
                {**delivery.to_json(), "url": delivery.endpoint.url}
                for delivery in self._api.webhooks.latest_deliveries(MAX_DELIVERIES)
            ],
        }
        changed = {name: part for name, part in parts.items() if self._sent.get(name) != part}
        self._sent = parts
        if not tasks and not changed:
            return None
        message = json.dumps({"now": now, "tasks": tasks, **changed}, separators=(",", ":"))
        return f"data: {message}\n\n".encode()

    def _encode_requests(self) -> dict[str, Any]:
        log = self._api.request_log
        return {
            "total": log.count(),
            "purchases": log.purchases,
            "replays": log.replays,
            "rate_limited": log.count_status(429),
            "in_flight": log.in_flight,
            "routes": [
                {"route": route or "unknown path", "count": count, "failed": failed}
                for route, count, failed in log.route_counts()
            ],
        }
