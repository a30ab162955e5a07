"""What is told to whom, and when: events of ended tasks, and the deliveries of each. It is told the time.

At least once: a delivery that was cut short is due again. Nothing ticks; `settle` catches up with the time it is told.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, Final

import attrs

from ..store import StateStore
from ..task import Task, timestamp
from .endpoints import WebhookEndpoint, WebhookEndpointStore

API_VERSION: Final = "2026-05-11"

RETRY_DELAYS: Final = (30.0, 120.0, 600.0, 3600.0, 21_600.0)
"""Seconds after each failed attempt, at speed 1. Assumed."""

MOST_EVENTS: Final = 10_000
MOST_DELIVERIES: Final = 10_000
"""How many are remembered; older ones are forgotten, but for what is still to be sent."""


@attrs.frozen
class WebhookEvent:
    """That a generation has ended. `body` is what is delivered, byte by byte the same each time."""

    id: str
    task_id: str
    account_id: str
    type: str
    body: bytes = attrs.field(repr=False)


@attrs.define(eq=False)
class WebhookDelivery:
    """One attempt to tell one endpoint of one event. Instants are epoch seconds."""

    id: str
    endpoint: WebhookEndpoint
    event: WebhookEvent
    attempt: int
    due: float
    created_at: float
    is_test: bool = False
    status: str = "pending"
    response_status: int | None = None
    error: str | None = None
    delivered_at: float | None = None

    def to_wire(self) -> dict[str, Any]:
        """As the API tells of it; the shape is an assumption."""
        return {
            "id": self.id,
            "object": "webhook_delivery",
            "endpoint_id": self.endpoint.id,
            "event_id": self.event.id,
            "event_type": self.event.type,
            "status": self.status,
            "attempt": self.attempt,
            "response_status": self.response_status,
            "error": self.error,
            "created_at": timestamp(self.created_at),
            "delivered_at": None if self.delivered_at is None else timestamp(self.delivered_at),
        }

    def end(self, now: float, *, status: int | None, error: str | None) -> None:
        """Note what came of it: any 2xx is a success."""
        taken = status is not None and _is_taken(status)
        self.status, self.response_status = ("succeeded" if taken else "failed"), status
        self.error = None if taken else error or f"The receiver answered {status}."
        self.delivered_at = now if taken else None


def _is_taken(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - the class of HTTP statuses


class DeliveryQueue:
    """The tasks that will end, the events of those that have, and what of them is still to be told.

    `tell` gives the generation that an event carries. `speed` divides the pauses between attempts.
    """

    def __init__(
        self,
        endpoints: WebhookEndpointStore,
        tell: Callable[[Task], Mapping[str, Any]],
        *,
        seed: int | str,
        speed: float,
        store: StateStore | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._tell = tell
        self._seed = seed
        self._speed = speed
        self._made = 0
        self._running: list[tuple[float, str, Task]] = []
        self._pending: list[tuple[float, int, WebhookDelivery]] = []
        self._events: deque[WebhookEvent] = deque(maxlen=MOST_EVENTS)
        self._log: deque[WebhookDelivery] = deque(maxlen=MOST_DELIVERIES)
        self._store = store or StateStore()
        self._told: set[str] = set()
        self._in_hand: Counter[str] = Counter()

    def take_up(self, tasks: Iterable[Task]) -> None:
        """Go on where an earlier process ended: with its deliveries, and with those of the tasks not told of yet."""
        told_of = set()
        for event in self._store.load(WebhookEvent):
            told_of.add(event.task_id)
            self._events.append(event)
        for task in tasks:
            if task.id not in told_of:
                self.expect(task)
        for delivery in self._store.load(WebhookDelivery):
            delivery.endpoint = self._endpoints.by_id(delivery.endpoint.id)
            self._log.append(delivery)
            if delivery.status == "succeeded":
                self._told.add(delivery.event.task_id)
            elif delivery.status == "pending":
                self.put_back(delivery)

    def expect(self, task: Task) -> None:
        """A task that will end."""
        heapq.heappush(self._running, (task.ends_at, task.id, task))

    def settle(self, now: float) -> None:
        """Make the events of all tasks that have ended by now, and their deliveries to who was there to hear."""
        while self._running and self._running[0][0] <= now:
            ended_at, _, task = heapq.heappop(self._running)
            event = self._event(task.account_id, task.status(ended_at), self._tell(task), ended_at)
            for endpoint in reversed(self._endpoints.of(task.account_id)):
                if endpoint.is_active and event.type in endpoint.event_types and endpoint.created_at <= ended_at:
                    self._schedule(WebhookDelivery(self._new_id("whdel"), endpoint, event, 1, ended_at, ended_at))

    def next_due(self) -> float | None:
        """When there is something to do; None if nobody is there to be told, or there is nothing to tell."""
        heads = [self._pending[0][0]] if self._pending else []
        if self._running and self._endpoints.has_active:
            heads.append(self._running[0][0])
        return min(heads, default=None)

    def take_due(self, now: float, most: int) -> Iterator[WebhookDelivery]:
        """At most so many deliveries to be sent now; what has lost its endpoint meanwhile has failed."""
        self.settle(now)
        while most > 0 and self._pending and self._pending[0][0] <= now:
            delivery = heapq.heappop(self._pending)[2]
            if delivery.endpoint.is_active:
                most -= 1
                yield delivery
            else:
                delivery.end(now, status=None, error=f"The endpoint is {delivery.endpoint.status}.")
                self._note(delivery)

    def put_back(self, delivery: WebhookDelivery) -> None:
        """It was cut short: nobody knows whether it came through."""
        if delivery.is_test:
            delivery.end(delivery.due, status=None, error="The sandbox was closed.")
            self._note(delivery)
        else:
            self._push(delivery)

    def ended(self, delivery: WebhookDelivery, now: float, *, status: int | None, error: str | None = None) -> None:
        """Note what came of a delivery, and try again later if that may help. A test is not repeated, nor counted."""
        delivery.end(now, status=status, error=error)
        self._note(delivery)
        if delivery.is_test:
            return
        endpoint = delivery.endpoint
        self._endpoints.heard(endpoint, now, taken=delivery.status == "succeeded")
        if delivery.status == "failed" and endpoint.is_active and delivery.attempt <= len(RETRY_DELAYS):
            due = now + RETRY_DELAYS[delivery.attempt - 1] / self._speed
            self._schedule(
                WebhookDelivery(self._new_id("whdel"), endpoint, delivery.event, delivery.attempt + 1, due, now)
            )

    def test(self, endpoint: WebhookEndpoint, generation: Mapping[str, Any], now: float) -> WebhookDelivery:
        """A delivery of an invented event, for whoever asked to send himself."""
        event = self._event(endpoint.account_id, "succeeded", generation, now)
        delivery = WebhookDelivery(self._new_id("whdel"), endpoint, event, 1, now, now, is_test=True)
        self._log.append(delivery)
        self._note(delivery)
        return delivery

    @contextmanager
    def in_hand(self, delivery: WebhookDelivery) -> Iterator[None]:
        """While a receiver has it, and has not answered."""
        self._in_hand[delivery.event.task_id] += 1
        try:
            yield
        finally:
            self._in_hand -= Counter([delivery.event.task_id])

    def answered(self, delivery: WebhookDelivery, status: int) -> None:
        """What a receiver has truly answered, whether the service hears of it or not."""
        if _is_taken(status):
            self._told.add(delivery.event.task_id)

    @property
    def told(self) -> AbstractSet[str]:
        """The ids of the tasks whose end a receiver has taken, or has in hand: it may act on it before it answers."""
        return self._told.union(dict(self._in_hand))

    def events_of(self, account_id: str) -> Sequence[WebhookEvent]:
        """The events of an account, the newest first."""
        return [each for each in reversed(self._events) if each.account_id == account_id]

    def to(self, endpoint: WebhookEndpoint) -> Sequence[WebhookDelivery]:
        """The deliveries to an endpoint, the newest first."""
        return [each for each in reversed(self._log) if each.endpoint is endpoint]

    def latest(self, count: int) -> Sequence[WebhookDelivery]:
        """So many deliveries, the newest first."""
        return list(itertools.islice(reversed(self._log), count))

    def _event(self, account_id: str, status: str, generation: Mapping[str, Any], at: float) -> WebhookEvent:
        event_id, kind = self._new_id("evt"), f"generation.{status}"
        envelope = {
            "id": event_id,
            "type": kind,
            "api_version": API_VERSION,
            "created_at": timestamp(at),
            "data": generation,
        }
        event = WebhookEvent(event_id, generation["id"], account_id, kind, json.dumps(envelope).encode())
        self._events.append(event)
        self._store.put(event.id, event)
        return event

    def _schedule(self, delivery: WebhookDelivery) -> None:
        self._log.append(delivery)
        self._note(delivery)
        self._push(delivery)

    def _note(self, delivery: WebhookDelivery) -> None:
        self._store.put(delivery.id, delivery)

    def _push(self, delivery: WebhookDelivery) -> None:
        self._made += 1
        heapq.heappush(self._pending, (delivery.due, self._made, delivery))

    def _new_id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_{hashlib.sha256(f'{self._seed}/delivery/{self._made}'.encode()).hexdigest()[:20]}"
