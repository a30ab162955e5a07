"""The state that dashboards show: fault toggles, and the events with the parts that changed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..api import Api
from ..faults.fault import DELIVERY, Fault
from ..faults.registry import FaultRegistry
from ..results import result_names
from ..service_state import ServiceState, Task

MAX_TASKS: Final = 200
"""Newest tasks that are sent; older ones are counted."""

MAX_PROMPT_LENGTH: Final = 400
"""Characters of a prompt that are sent."""

MAX_DELIVERIES: Final = 30
"""Newest webhook deliveries that are sent."""

STATUSES: Final = ("queued", "processing", "succeeded", "failed")

SUBMIT: Final = "POST /api/v1/generations"
POLL: Final = "GET /api/v1/generations/{task_id}"
DOWNLOAD: Final = "GET /results/{task_id}/{name}"

MAX_TOGGLES: Final = 60
"""Toggles beyond which the oldest inactive ones are removed; active ones are always kept."""

PREDEFINED: Final[Sequence[tuple[str, str, Mapping[str, Any]]]] = (
    ("Lose the response to a purchase", "one in two; the job is created all the same",
     {"route": SUBMIT, "rate": 0.5, "drop": True, "act": True}),
    ("Fail status requests", "one in four is a 503", {"route": POLL, "rate": 0.25, "status": 503}),
    ("Limit the rate", "one in four is a 429: wait a second", {"rate": 0.25, "status": 429, "retry_after": 1}),
    ("Respond slowly", "every response a second late", {"delay": 1.0}),
    ("Service outage", "every request is a 503", {"status": 503}),
    ("Cut downloads off", "one in two, after 1,000 bytes", {"route": DOWNLOAD, "rate": 0.5, "truncate": 1000}),
    ("Lose webhook deliveries", "one in two", {"route": DELIVERY, "rate": 0.5, "drop": True}),
)  # fmt: skip


@attrs.frozen(eq=False)
class FaultToggle:
    """A fault that can be activated and deactivated."""

    id: str
    name: str
    detail: str
    fault: Fault
    predefined: bool


class FaultToggles:
    """The toggles of one sandbox, in the order in which their faults became known."""

    def __init__(self, faults: FaultRegistry) -> None:
        self._faults = faults
        self._numbers = itertools.count(1)
        self._toggles: dict[str, FaultToggle] = {}
        for name, detail, fields in PREDEFINED:
            self._add(name, detail, Fault(**fields), predefined=True)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns every toggle, its state, and the hits of its fault since the activation."""
        active = self._synchronize()
        hidden = attrs.filters.exclude("fault")
        return [
            {
                **attrs.asdict(toggle, recurse=False, filter=hidden),
                "on": toggle.fault in active,
                "hits": self._faults.hits(toggle.fault),
            }
            for toggle in self._toggles.values()
        ]

    def set_active(self, toggle_id: object, *, active: bool) -> bool:
        """Activates or deactivates a fault; returns False for an unknown toggle."""
        active_faults = self._synchronize()
        toggle = self._toggles.get(str(toggle_id))
        if toggle is None:
            return False
        if active is not (toggle.fault in active_faults):
            change = self._faults.add if active else self._faults.remove
            change(toggle.fault)
        return True

    def _synchronize(self) -> set[Fault]:
        """Adds toggles for new faults, removes the oldest inactive ones, and returns the active faults."""
        active, known = set(self._faults), {toggle.fault for toggle in self._toggles.values()}
        for fault in self._faults:
            if fault not in known:
                self._add(*describe_fault(fault), fault)
        removable = [each.id for each in self._toggles.values() if not each.predefined and each.fault not in active]
        for toggle_id in removable[: max(0, len(self._toggles) - MAX_TOGGLES)]:
            del self._toggles[toggle_id]
        return active

    def _add(self, name: str, detail: str, fault: Fault, *, predefined: bool = False) -> None:
        toggle = FaultToggle(f"fault-{next(self._numbers)}", name, detail, fault, predefined)
        self._toggles[toggle.id] = toggle


def describe_fault(fault: Fault) -> tuple[str, str]:
    """Returns the requests that a fault selects, and its other fields that differ from their defaults."""
    details = [
        f"{field.name}={_format_value(getattr(fault, field.name))}"
        for field in attrs.fields(Fault)
        if field.name != "route" and getattr(fault, field.name) != field.default
    ]
    return fault.route or "Every request to the API", ", ".join(details)


def _format_value(value: object) -> str:
    if isinstance(value, frozenset):
        items = sorted(value)
        return str(items[0]) if len(items) == 1 else _shorten(str(items))
    return _shorten(f"{value:g}" if isinstance(value, float) else repr(value))


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


class TaskFeed:
    """The newest tasks, and the number of tasks by status. An update reads the new and the open tasks only."""

    def __init__(self, service_state: ServiceState) -> None:
        self._tasks = service_state.tasks
        self._known_count = 0
        self._open: dict[str, str] = {}
        """Statuses at the last update of the tasks that had not ended, by id."""
        self.counts: dict[str, int] = dict.fromkeys(STATUSES, 0)
        """The number of tasks by status at the last update."""

    def poll_changes(self, now: float) -> list[dict[str, Any]]:
        """Returns those of the newest tasks that are new or changed their status, the oldest first."""
        new = list(itertools.islice(reversed(self._tasks), len(self._tasks) - self._known_count))
        self._known_count += len(new)
        changed = []
        for task in [self._tasks[task_id] for task_id in (*self._open, *reversed(new))]:
            status, old_status = task.status(now), self._open.pop(task.id, None)
            if now < task.ends_at:
                self._open[task.id] = status
            if status != old_status:
                changed.append(task)
                self.counts[status] += 1
                if old_status is not None:
                    self.counts[old_status] -= 1
        newest = set(itertools.islice(reversed(self._tasks), MAX_TASKS)) if changed else ()
        return [_encode_task(task, now) for task in changed if task.id in newest]


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
            "counts": {**self._tasks.counts},
            "credits": sum(state.available_credits(account, now) for account in state.accounts),
            "faults": self._toggles.to_json(),
            "requests": self._encode_requests(),
            "deliveries": [
                {**delivery.to_json(), "url": delivery.endpoint.url}
                for delivery in itertools.islice(reversed(self._api.webhooks.queue.deliveries), MAX_DELIVERIES)
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
