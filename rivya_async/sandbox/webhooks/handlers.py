"""Handlers of the webhook API. Deliveries are sent only while the sandbox is running."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from ..faults.registry import FaultRegistry
from ..request_context import RequestContext
from ..responses import ApiResponse
from ..results import encode_with_links
from ..service_state import ServiceState
from ..task import Task, encode_generation
from .delivery_queue import DeliveryQueue, WebhookDelivery, WebhookEvent
from .endpoints import WebhookEndpoint, WebhookEndpointStore
from .sender import WebhookSender

TEST_URL: Final = "https://example.com/rivya-webhook-test.png"
"""Result link in the generation of a test event. Invented; there is no such file."""


class WebhookHandlers:
    """Handlers of endpoints, deliveries and events."""

    def __init__(self, service_state: ServiceState, *, allow_local: bool) -> None:
        self._store = service_state.store
        self._endpoints = WebhookEndpointStore(service_state.seed, allow_local=allow_local, store=self._store)

        def encode_task(task: Task) -> dict[str, Any]:
            generation: dict[str, Any] = json.loads(encode_with_links(service_state, task, task.ends_at))
            return generation

        self._queue = DeliveryQueue(
            self._endpoints, encode_task, seed=service_state.seed, speed=service_state.speed, store=self._store
        )
        self._queue.restore(service_state.tasks.values())
        self._sender: WebhookSender | None = None

    def start(self, clock: Callable[[], float], faults: FaultRegistry) -> None:
        """Starts to send."""
        self._sender = WebhookSender(self._queue, faults, clock, self._store)

    async def aclose(self) -> None:
        """Stops to send; pending deliveries are due again at the next start."""
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.aclose()

    def schedule_events(self, task: Task) -> None:
        """Schedules the event at the end of a new task."""
        self._queue.add_task(task)
        self._wake_sender()

    def latest_deliveries(self, count: int) -> Sequence[WebhookDelivery]:
        """Returns the newest deliveries of all accounts, the newest first."""
        return self._queue.latest_deliveries(count)

    @property
    def observed_tasks(self) -> AbstractSet[str]:
        """The ids of the tasks whose event a receiver has accepted or is processing."""
        return self._queue.observed_tasks

    async def create(self, context: RequestContext) -> ApiResponse:
        """Handles POST /webhooks."""
        body, _ = await context.read_json()
        self._queue.create_events(context.now)  # of earlier ends, which a new endpoint does not receive
        endpoint = self._endpoints.create(context.account_id, body, context.now)
        self._wake_sender()
        return ApiResponse.from_json(endpoint.to_json(with_secret=True))

    async def list_endpoints(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhooks."""
        return context.list_response(self._endpoints.list_endpoints(context.account_id), WebhookEndpoint.to_json)

    async def get(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhooks/{endpoint_id}."""
        return ApiResponse.from_json(self._get_endpoint(context).to_json())

    async def update(self, context: RequestContext) -> ApiResponse:
        """Handles PATCH /webhooks/{endpoint_id}."""
        endpoint = self._get_endpoint(context)
        body, _ = await context.read_json()
        self._queue.create_events(context.now)
        self._endpoints.update(endpoint, body, context.now)
        self._wake_sender()
        return ApiResponse.from_json(endpoint.to_json())

    async def revoke(self, context: RequestContext) -> ApiResponse:
        """Handles DELETE /webhooks/{endpoint_id}."""
        endpoint = self._get_endpoint(context)
        self._endpoints.revoke(endpoint, context.now)
        return ApiResponse.from_json(endpoint.to_json())

    async def rotate_secret(self, context: RequestContext) -> ApiResponse:
        """Handles POST /webhooks/{endpoint_id}/rotate-secret."""
        endpoint = self._get_endpoint(context)
        self._endpoints.rotate_secret(endpoint, context.now)
        return ApiResponse.from_json(endpoint.to_json(with_secret=True))

    async def send_test(self, context: RequestContext) -> ApiResponse:
        """Handles POST /webhooks/{endpoint_id}/test: sends an artificial event once and returns the delivery."""
        endpoint = self._get_endpoint(context)
        self._endpoints.check_not_revoked(endpoint)
        delivery = self._queue.create_test(endpoint, _build_test_generation(context), context.now)
        if self._sender is not None:
            await self._sender.send(delivery)
        return ApiResponse.from_json(delivery.to_json())

    async def list_deliveries(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhooks/{endpoint_id}/deliveries."""
        endpoint = self._get_endpoint(context)
        self._queue.create_events(context.now)
        return context.list_response(self._queue.list_deliveries(endpoint), WebhookDelivery.to_json)

    async def list_events(self, context: RequestContext) -> ApiResponse:
        """Handles GET /webhook-events."""
        self._queue.create_events(context.now)
        return context.list_response(self._queue.list_events(context.account_id), WebhookEvent.to_json)

    def _get_endpoint(self, context: RequestContext) -> WebhookEndpoint:
        return self._endpoints.get(context.account_id, context.path_params["endpoint_id"])

    def _wake_sender(self) -> None:
        if self._sender is not None and self._endpoints.has_active:
            self._sender.wake()


def _build_test_generation(context: RequestContext) -> dict[str, Any]:
    task = Task(
        id="task_webhook_test",
        account_id=context.account_id,
        model="z-image",
        category="image",
        prompt="",
        params={},
        seed=0,
        reserved_credits=0,
        created_at=context.now,
        starts_at=context.now,
        ends_at=context.now,
        failure=None,
    )
    generation: dict[str, Any] = json.loads(encode_generation(task, "succeeded", [TEST_URL]))
    return generation
