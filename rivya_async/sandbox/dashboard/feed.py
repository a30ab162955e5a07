"""What one open page is told, a message at a time: whatever is not as it was told before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from ..api import Api
from .fault_toggles import FaultToggles
from .task_feed import TaskFeed

MOST_DELIVERIES: Final = 30


class DashboardFeed:
    """The news of a sandbox since the last message. `clock` gives epoch seconds."""

    def __init__(self, api: Api, switches: FaultToggles, clock: Callable[[], float]) -> None:
        self._api = api
        self._switches = switches
        self._clock = clock
        self._board = TaskFeed(api.service_state)
        self._said: dict[str, Any] = {}

    def news(self) -> bytes | None:
        """The next message, as it travels; None if there is nothing new."""
        now = self._clock()
        tasks = self._board.changed(now)
        parts = {
            "sandbox": {"base_url": self._api.base_url, "speed": self._api.service_state.speed},
            "counts": self._board.counts,
            "credits": sum(
                self._api.service_state.credits(account, now) for account in self._api.service_state.accounts
            ),
            "faults": self._switches.to_wire(),
            "received": self._received(),
            "deliveries": [
                {**each.to_wire(), "url": each.endpoint.url} for each in self._api.webhooks.latest(MOST_DELIVERIES)
            ],
        }
        new = {name: part for name, part in parts.items() if self._said.get(name) != part}
        self._said = parts
        if not tasks and not new:
            return None
        told = json.dumps({"now": now, "tasks": tasks, **new}, separators=(",", ":"))
        return f"data: {told}\n\n".encode()

    def _received(self) -> dict[str, Any]:
        received = self._api.request_log
        return {
            "requests": received.count(),
            "purchases": received.purchases,
            "replays": received.replays,
            "rate_limited": received.count_status(429),
            "in_flight": received.in_flight,
            "routes": [
                {"route": route or "unknown path", "count": count, "failed": failed}
                for route, count, failed in received.route_counts()
            ],
        }
