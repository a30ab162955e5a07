"""Webhook events of ended tasks, and the queue of their deliveries.

Deliveries are at least once: an interrupted one is due again. Nothing runs in the background: `create_events` creates
the events of all tasks that have ended by the given time.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, Final

import attrs

from ..responses import encode_record, format_timestamp
from ..results import encode_with_links
from ..service_state import ServiceState, Task
from .endpoints import WebhookEndpoint

API_VERSION: Final = "2026-05-11"

RETRY_DELAYS: Final = (30.0, 120.0, 600.0, 3600.0, 21_600.0)
"""Seconds after each failed attempt, at speed 1. Assumed."""

MAX_EVENTS: Final = 10_000
"""Events that are kept."""

MAX_DELIVERIES: Final = 10_000
"""Deliveries that are kept, besides the pending ones."""


@attrs.frozen
class WebhookEvent:
    """The end of a generation. Every delivery sends the same `body`."""

    id: str
    task_id: str
    account_id: str
    type: str
    body: bytes = attrs.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Returns the API's event object."""
        value: dict[str, Any] = json.loads(self.body)
        return value


@attrs.define(eq=False)
class WebhookDelivery:
    """One attempt to deliver an event to an endpoint. Times are epoch seconds."""

    id: str
    endpoint: WebhookEndpoint
    event: WebhookEvent
    attempt: int
    due_at: float
    created_at: float
    is_test: bool = False
    status: str = "pending"
    response_status: int | None = None
    error: str | None = None
    delivered_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the API's delivery object; its members are assumed."""
        ids = {"endpoint_id": self.endpoint.id, "event_id": self.event.id, "event_type": self.event.type}
        return {**encode_record(self, "webhook_delivery", "endpoint", "event", "due_at", "is_test"), **ids}

    def finish(self, now: float, *, status: int | None, error: str | None) -> None:
        """Sets the result: a 2xx status is a success."""
        succeeded = status is not None and _is_success(status)
        self.status, self.response_status = ("succeeded" if succeeded else "failed"), status
        self.error = None if succeeded else error or f"The receiver answered {status}."
        self.delivered_at = now if succeeded else None


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004  the class of HTTP statuses


class DeliveryQueue:
    """Open tasks, events of ended tasks, and pending deliveries, also those of an earlier process.

    `endpoints` are those of all accounts by id. The speed of `service_state` divides the delays between attempts.
    """

    def __init__(self, service_state: ServiceState, endpoints: Mapping[str, WebhookEndpoint]) -> None:
        self._service_state = service_state
        self._store = service_state.store
        self._endpoints = endpoints
        self._counter = itertools.count(1)
        self._open_tasks: list[tuple[float, str, Task]] = []
        self._pending: list[tuple[float, int, WebhookDelivery]] = []
        self.events = deque(self._store.load(WebhookEvent), MAX_EVENTS)
        self.deliveries: deque[WebhookDelivery] = deque(maxlen=MAX_DELIVERIES)
        self._accepted_tasks: set[str] = set()
        self._sending: Counter[str] = Counter()
        tasks_with_event = {event.task_id for event in self._store.load(WebhookEvent)}
        for task in service_state.tasks.values():
            if task.id not in tasks_with_event:
                self.add_task(task)
        for delivery in self._store.load(WebhookDelivery):
            delivery.endpoint = endpoints[delivery.endpoint.id]
            self.deliveries.append(delivery)
            if delivery.status == "succeeded":
                self._accepted_tasks.add(delivery.event.task_id)
            elif delivery.status == "pending":
                self.requeue(delivery)

    @property
    def has_active_endpoint(self) -> bool:
        """True if some endpoint receives events."""
        return any(endpoint.is_active for endpoint in self._endpoints.values())

    def add_task(self, task: Task) -> None:
        """Adds a task, whose end becomes an event."""
        heapq.heappush(self._open_tasks, (task.ends_at, task.id, task))

    def create_events(self, now: float) -> None:
        """Creates the events of all tasks that have ended, and their deliveries to the endpoints of that time."""
        while self._open_tasks and self._open_tasks[0][0] <= now:
            ended_at, _, task = heapq.heappop(self._open_tasks)
            body = encode_with_links(self._service_state, task, ended_at)
            event = self._create_event(task.account_id, task.status(ended_at), body, ended_at)
            for endpoint in self._endpoints.values():
                if (
                    endpoint.account_id == task.account_id
                    and endpoint.is_active
                    and event.type in endpoint.event_types
                    and endpoint.created_at <= ended_at
                ):
                    self._create_delivery(endpoint, event, 1, ended_at, ended_at)

    def next_due_at(self) -> float | None:
        """Returns the time of the next delivery or event; None without pending deliveries and active endpoints."""
        times = [self._pending[0][0]] if self._pending else []
        if self._open_tasks and self.has_active_endpoint:
            times.append(self._open_tasks[0][0])
        return min(times, default=None)

    def pop_due(self, now: float, limit: int) -> Iterator[WebhookDelivery]:
        """Yields at most `limit` due deliveries; those to an inactive endpoint fail."""
        self.create_events(now)
        while limit > 0 and self._pending and self._pending[0][0] <= now:
            delivery = heapq.heappop(self._pending)[2]
            if delivery.endpoint.is_active:
                limit -= 1
                yield delivery
            else:
                delivery.finish(now, status=None, error=f"The endpoint is {delivery.endpoint.status}.")
                self._store.put(delivery.id, delivery)

    def requeue(self, delivery: WebhookDelivery) -> None:
        """Queues an interrupted delivery again, since its result is unknown; a test fails instead."""
        if delivery.is_test:
            delivery.finish(delivery.due_at, status=None, error="The sandbox was closed.")
            self._store.put(delivery.id, delivery)
        else:
            self._push(delivery)

    def record_result(
        self, delivery: WebhookDelivery, now: float, *, status: int | None, error: str | None = None
    ) -> None:
        """Stores the result of a delivery and schedules the next attempt after a failure. Tests are not counted."""
        delivery.finish(now, status=status, error=error)
        self._store.put(delivery.id, delivery)
        if delivery.is_test:
            return
        endpoint = delivery.endpoint
        endpoint.record_result(now, succeeded=delivery.status == "succeeded")
        self._store.put(endpoint.id, endpoint)
        if delivery.status == "failed" and endpoint.is_active and delivery.attempt <= len(RETRY_DELAYS):
            due_at = now + RETRY_DELAYS[delivery.attempt - 1] / self._service_state.speed
            self._create_delivery(endpoint, delivery.event, delivery.attempt + 1, due_at, now)

    def create_test(self, endpoint: WebhookEndpoint, generation: bytes, now: float) -> WebhookDelivery:
        """Returns a delivery of an artificial event, which the caller sends."""
        event = self._create_event(endpoint.account_id, "succeeded", generation, now)
        delivery = WebhookDelivery(self._new_id("whdel"), endpoint, event, 1, now, now, is_test=True)
        self._add(delivery)
        return delivery

    @contextmanager
    def mark_sending(self, delivery: WebhookDelivery) -> Iterator[None]:
        """Marks the delivery's task as observed until the receiver has answered: it may act before it answers."""
        self._sending[delivery.event.task_id] += 1
        try:
            yield
        finally:
            self._sending -= Counter([delivery.event.task_id])

    def record_response(self, delivery: WebhookDelivery, status: int) -> None:
        """Records the receiver's true response, which a fault may hide from the service."""
        if _is_success(status):
            self._accepted_tasks.add(delivery.event.task_id)

    @property
    def observed_tasks(self) -> AbstractSet[str]:
        """The ids of the tasks whose event a receiver has accepted or is processing."""
        return self._accepted_tasks.union(dict(self._sending))

    def _create_event(self, account_id: str, status: str, generation: bytes, now: float) -> WebhookEvent:
        data = json.loads(generation)
        event_id, event_type = self._new_id("evt"), f"generation.{status}"
        envelope = {
            "id": event_id,
            "type": event_type,
            "api_version": API_VERSION,
            "created_at": format_timestamp(now),
            "data": data,
        }
        event = WebhookEvent(event_id, data["id"], account_id, event_type, json.dumps(envelope).encode())
        self.events.append(event)
        self._store.put(event.id, event)
        return event

    def _create_delivery(
        self, endpoint: WebhookEndpoint, event: WebhookEvent, attempt: int, due_at: float, now: float
    ) -> None:
        delivery = WebhookDelivery(self._new_id("whdel"), endpoint, event, attempt, due_at, now)
        self._add(delivery)
        self._push(delivery)

    def _add(self, delivery: WebhookDelivery) -> None:
        self.deliveries.append(delivery)
        self._store.put(delivery.id, delivery)

    def _push(self, delivery: WebhookDelivery) -> None:
        heapq.heappush(self._pending, (delivery.due_at, next(self._counter), delivery))

    def _new_id(self, prefix: str) -> str:
        name = f"{self._service_state.seed}/delivery/{next(self._counter)}"
        return f"{prefix}_{hashlib.sha256(name.encode()).hexdigest()[:20]}"
