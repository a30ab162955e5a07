"""The operations of the webhook API: from a visit to an answer. Sends only while the sandbox is running."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from ..faults.registry import FaultRegistry
from ..pagination import listed, newest
from ..request_context import RequestContext, parse
from ..responses import ApiResponse
from ..service_state import ServiceState
from ..task import Task, encode
from .delivery_queue import DeliveryQueue, WebhookDelivery
from .endpoints import WebhookEndpoint, WebhookEndpointStore
from .sender import WebhookSender

TEST_URL: Final = "https://example.com/rivya-webhook-test.png"
"""The link in the generation of a test event. Invented, and leads nowhere."""


class WebhookHandlers:
    """Holds the endpoints, and has their deliveries carried. `told` gives the generation that an event carries."""

    def __init__(self, world: ServiceState, told: Callable[[Task], Mapping[str, Any]], *, allow_local: bool) -> None:
        self._endpoints = WebhookEndpointStore(world.seed, allow_local=allow_local, store=world.store)
        self._deliveries = DeliveryQueue(self._endpoints, told, seed=world.seed, speed=world.speed, store=world.store)
        self._deliveries.take_up(world.tasks.values())
        self._store = world.store
        self._courier: WebhookSender | None = None

    def open(self, clock: Callable[[], float], faults: FaultRegistry) -> None:
        """Begin to send."""
        self._courier = WebhookSender(self._deliveries, faults, clock, self._store)

    async def aclose(self) -> None:
        """Send nothing any more; what is not told yet is due when it is opened again."""
        courier, self._courier = self._courier, None
        if courier is not None:
            await courier.aclose()

    def expect(self, task: Task) -> None:
        """A task that will end, and is then told."""
        self._deliveries.expect(task)
        self._wake()

    def latest(self, count: int) -> Sequence[WebhookDelivery]:
        """So many deliveries of all accounts, the newest first."""
        return self._deliveries.latest(count)

    @property
    def told(self) -> AbstractSet[str]:
        """The ids of the tasks whose end a receiver has taken."""
        return self._deliveries.told

    async def create(self, visit: RequestContext) -> ApiResponse:
        """POST /webhooks."""
        body, _ = parse(await visit.read())
        self._deliveries.settle(visit.now)  # a new endpoint is not told of what was before it
        endpoint = self._endpoints.create(visit.account_id, body, visit.now)
        self._wake()
        return _answer(endpoint, shows_secret=True)

    async def endpoints(self, visit: RequestContext) -> ApiResponse:
        """GET /webhooks."""
        return listed([each.to_wire() for each in newest(visit, self._endpoints.of(visit.account_id))])

    async def endpoint(self, visit: RequestContext) -> ApiResponse:
        """GET /webhooks/{endpoint_id}."""
        return _answer(self._one(visit))

    async def update(self, visit: RequestContext) -> ApiResponse:
        """PATCH /webhooks/{endpoint_id}."""
        endpoint = self._one(visit)
        body, _ = parse(await visit.read())
        self._deliveries.settle(visit.now)
        self._endpoints.update(endpoint, body, visit.now)
        self._wake()
        return _answer(endpoint)

    async def revoke(self, visit: RequestContext) -> ApiResponse:
        """DELETE /webhooks/{endpoint_id}."""
        endpoint = self._one(visit)
        self._endpoints.revoke(endpoint, visit.now)
        return _answer(endpoint)

    async def rotate(self, visit: RequestContext) -> ApiResponse:
        """POST /webhooks/{endpoint_id}/rotate-secret."""
        endpoint = self._one(visit)
        self._endpoints.rotate(endpoint, visit.now)
        return _answer(endpoint, shows_secret=True)

    async def test(self, visit: RequestContext) -> ApiResponse:
        """POST /webhooks/{endpoint_id}/test: send an invented event once, and answer what came of it."""
        endpoint = self._one(visit)
        self._endpoints.check_living(endpoint)
        delivery = self._deliveries.test(endpoint, _invented(visit), visit.now)
        if self._courier is not None:
            await self._courier.send(delivery)
        return ApiResponse(json.dumps(delivery.to_wire()).encode())

    async def deliveries(self, visit: RequestContext) -> ApiResponse:
        """GET /webhooks/{endpoint_id}/deliveries."""
        endpoint = self._one(visit)
        self._deliveries.settle(visit.now)
        return listed([each.to_wire() for each in newest(visit, self._deliveries.to(endpoint))])

    async def events(self, visit: RequestContext) -> ApiResponse:
        """GET /webhook-events."""
        self._deliveries.settle(visit.now)
        events = newest(visit, self._deliveries.events_of(visit.account_id))
        return listed([json.loads(each.body) for each in events])

    def _one(self, visit: RequestContext) -> WebhookEndpoint:
        return self._endpoints.one(visit.account_id, visit.arguments["endpoint_id"])

    def _wake(self) -> None:
        if self._courier is not None and self._endpoints.has_active:
            self._courier.wake()


def _answer(endpoint: WebhookEndpoint, *, shows_secret: bool = False) -> ApiResponse:
    return ApiResponse(json.dumps(endpoint.to_wire(shows_secret=shows_secret)).encode())


def _invented(visit: RequestContext) -> Mapping[str, Any]:
    """A generation that nobody ordered."""
    task = Task(
        id="task_webhook_test",
        account_id=visit.account_id,
        model="z-image",
        category="image",
        prompt="",
        params={},
        seed=0,
        reserved_credits=0,
        created_at=visit.now,
        starts_at=visit.now,
        ends_at=visit.now,
        failure=None,
    )
    generation: dict[str, Any] = json.loads(encode(task, "succeeded", [TEST_URL]))
    return generation
