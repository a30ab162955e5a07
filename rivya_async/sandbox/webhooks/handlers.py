"""Handlers of the webhook API. Deliveries are sent only while the sandbox is running."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from ..faults.registry import FaultRegistry
from ..request_context import RequestContext
from ..responses import ApiResponse, validation_error
from ..service_state import ServiceState, Task
from .delivery_queue import DeliveryQueue, WebhookDelivery, WebhookEvent
from .endpoints import FIELDS, WebhookEndpoint, validate_fields
from .sender import WebhookSender

TEST_URL: Final = "https://example.com/rivya-webhook-test.png"
"""Result link in the generation of a test event. Invented; there is no such file."""


class WebhookHandlers:
    """Handlers of endpoints, deliveries and events."""

    def __init__(self, service_state: ServiceState, *, allow_local: bool) -> None:
        self._allow_local = allow_local
        self._seed = service_state.seed
        self._store = service_state.store
        self._endpoints = {endpoint.id: endpoint for endpoint in self._store.load(WebhookEndpoint)}
        self._secret_count = 0
        self.queue = DeliveryQueue(service_state, self._endpoints)
        self._sender: WebhookSender | None = None

    def start(self, clock: Callable[[], float], faults: FaultRegistry) -> None:
        """Starts to send."""
        self._sender = WebhookSender(self.queue, faults, clock, self._store)

    async def aclose(self) -> None:
        """Stops to send; pending deliveries are due again at the next start."""
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.aclose()

    def schedule_event(self, task: Task) -> None:
        """Schedules the event at the end of a new task."""
        self.queue.add_task(task)
        self._wake_sender()

    async def create(self, context: RequestContext) -> ApiResponse:
        """Handles POST /webhooks."""
        body, _ = await context.read_json()
        self.queue.create_events(context.now)  # of earlier ends, which a new endpoint does not receive
        required = {name: body.get(name) for name in ("name", "url", "event_types")}
        for name, value in required.items():
            if value is None:
                raise validation_error(f"{name} is required.")
        digest = hashlib.sha256(f"{self._seed}/webhook/{len(self._endpoints)}".encode()).hexdigest()
        endpoint = WebhookEndpoint(
            f"whend_{digest[:20]}",
            context.account_id,
            **validate_fields(required, allow_local=self._allow_local),
            secret=self._new_secret(),
            created_at=context.now,
            updated_at=context.now,
        )
        self._endpoints[endpoint.id] = endpoint
        return self._save(endpoint, with_secret=True)

    async def list_endpoints(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhooks."""
        return context.list_records(self._endpoints.values(), WebhookEndpoint.to_json)

    async def get(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhooks/{endpoint_id}."""
        return ApiResponse.from_json(self._get_endpoint(context).to_json())

    async def update(self, context: RequestContext) -> ApiResponse:
        """Handles PATCH /webhooks/{endpoint_id}."""
        self._get_endpoint(context)
        body, _ = await context.read_json()
        self.queue.create_events(context.now)
        endpoint = self._get_unrevoked(context)
        fields = validate_fields(body, allow_local=self._allow_local)
        if not fields:
            raise validation_error(f"One of {', '.join(FIELDS)} is required.")
        endpoint.update(fields, context.now)
        return self._save(endpoint)

    async def revoke(self, context: RequestContext) -> ApiResponse:
        """Handles DELETE /webhooks/{endpoint_id}; idempotent."""
        endpoint = self._get_endpoint(context)
        if endpoint.revoked_at is None:
            endpoint.status, endpoint.revoked_at, endpoint.updated_at = "revoked", context.now, context.now
        return self._save(endpoint)

    async def rotate_secret(self, context: RequestContext) -> ApiResponse:
        """Handles POST /webhooks/{endpoint_id}/rotate-secret: replaces the secret at once."""
        endpoint = self._get_unrevoked(context)
        endpoint.secret, endpoint.updated_at = self._new_secret(), context.now
        return self._save(endpoint, with_secret=True)

    async def send_test(self, context: RequestContext) -> ApiResponse:
        """Handles POST /webhooks/{endpoint_id}/test: sends an artificial event once and returns the delivery."""
        endpoint, now = self._get_unrevoked(context), context.now
        task = Task(
            id="task_webhook_test",
            account_id=context.account_id,
            model="z-image",
            category="image",
            created_at=now,
            starts_at=now,
            ends_at=now,
        )
        delivery = self.queue.create_test(endpoint, task.encode("succeeded", [TEST_URL]), now)
        if self._sender is not None:
            await self._sender.send(delivery)
        return ApiResponse.from_json(delivery.to_json())

    async def list_deliveries(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhooks/{endpoint_id}/deliveries."""
        endpoint = self._get_endpoint(context)
        self.queue.create_events(context.now)
        deliveries = [delivery for delivery in self.queue.deliveries if delivery.endpoint is endpoint]
        return context.list_response(deliveries, WebhookDelivery.to_json)

    async def list_events(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhook-events."""
        self.queue.create_events(context.now)
        return context.list_records(self.queue.events, WebhookEvent.to_json)

    def _get_endpoint(self, context: RequestContext) -> WebhookEndpoint:
        return context.get_record(self._endpoints, "webhook endpoint")

    def _get_unrevoked(self, context: RequestContext) -> WebhookEndpoint:
        endpoint = self._get_endpoint(context)
        if endpoint.revoked_at is not None:
            raise validation_error("This webhook endpoint is revoked: create a new one.")
        return endpoint

    def _save(self, endpoint: WebhookEndpoint, *, with_secret: bool = False) -> ApiResponse:
        """Stores a changed endpoint and returns it."""
        self._store.put(endpoint.id, endpoint)
        self._wake_sender()
        return ApiResponse.from_json(endpoint.to_json(with_secret=with_secret))

    def _new_secret(self) -> str:
        self._secret_count += 1
        return f"whsec_{hashlib.sha256(f'{self._seed}/webhook-secret/{self._secret_count}'.encode()).hexdigest()}"

    def _wake_sender(self) -> None:
        if self._sender is not None and self.queue.has_active_endpoint:
            self._sender.wake()
