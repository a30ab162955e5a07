"""The operations of the service and their routes."""

from __future__ import annotations

from typing import Final

from . import openapi
from .catalogue import load_catalogue
from .chat.handlers import ChatHandlers
from .files.file_store import FileStore
from .files.handlers import FileHandlers
from .generations import GenerationHandlers
from .idempotency import IdempotencyStore
from .request_context import RequestContext
from .request_log import RequestLog
from .responses import ApiResponse
from .router import Route
from .service_state import ServiceState
from .webhooks.handlers import WebhookHandlers


class Api:
    """The handlers of all operations, and the state on which they work."""

    def __init__(self, service_state: ServiceState, *, allow_local_webhooks: bool = False) -> None:
        self.service_state = service_state
        self.request_log = RequestLog()
        self.idempotency = IdempotencyStore(service_state.store)
        self.catalogue = load_catalogue()
        files = FileStore(self.catalogue, service_state.seed, service_state.store)
        self.files = FileHandlers(files, service_state, self.request_log)
        self.webhooks = WebhookHandlers(service_state, allow_local=allow_local_webhooks)
        self.generations = GenerationHandlers(
            service_state, self.request_log, files, self.idempotency, on_create=self.webhooks.schedule_events
        )
        self.chat = ChatHandlers(service_state, self.request_log, self.catalogue, self.idempotency, files.get_kind)

    async def list_models(self, _: RequestContext) -> ApiResponse:
        """Handles GET /models."""
        return ApiResponse(self.catalogue.listing)

    async def get_openapi(self, _: RequestContext) -> ApiResponse:
        """Handles GET /openapi.json."""
        return ApiResponse(openapi.render_document(self.service_state.base_url))

    async def get_credits(self, context: RequestContext) -> ApiResponse:
        """Handles GET /credits."""
        balance = self.service_state.available_credits(context.account_id, context.now)
        return ApiResponse.from_json({"current_credits": balance})


ROUTES: Final = (
    Route("GET /api/v1/models", None, "list_models"),
    Route("GET /api/v1/openapi.json", None, "get_openapi"),
    Route("POST /api/v1/generations", "generations:create", "generations.create"),
    Route("GET /api/v1/generations/{task_id}", "generations:read", "generations.get"),
    Route("POST /api/v1/chat/completions", "chat:create", "chat.complete"),
    Route("POST /api/v1/chat/completions/stream", "chat:create", "chat.stream"),
    Route("GET /api/v1/chat/sessions", "chat:read", "chat.list_sessions"),
    Route("GET /api/v1/chat/sessions/{session_id}", "chat:read", "chat.get_session"),
    Route("POST /api/v1/files", "files:create", "files.upload"),
    Route("GET /api/v1/files/{file_id}", "files:read", "files.get"),
    Route("GET /api/v1/credits", "credits:read", "get_credits"),
    Route("POST /api/v1/webhooks", "webhooks:manage", "webhooks.create"),
    Route("GET /api/v1/webhooks", "webhooks:manage", "webhooks.list_endpoints"),
    Route("GET /api/v1/webhooks/{endpoint_id}", "webhooks:manage", "webhooks.get"),
    Route("PATCH /api/v1/webhooks/{endpoint_id}", "webhooks:manage", "webhooks.update"),
    Route("DELETE /api/v1/webhooks/{endpoint_id}", "webhooks:manage", "webhooks.revoke"),
    Route("POST /api/v1/webhooks/{endpoint_id}/rotate-secret", "webhooks:manage", "webhooks.rotate_secret"),
    Route("POST /api/v1/webhooks/{endpoint_id}/test", "webhooks:manage", "webhooks.send_test"),
    Route("GET /api/v1/webhooks/{endpoint_id}/deliveries", "webhooks:manage", "webhooks.list_deliveries"),
    Route("GET /api/v1/webhook-events", "webhooks:manage", "webhooks.list_events"),
    Route("GET /results/{task_id}/{name}", None, "generations.get_result"),
    Route("GET /files/{name}", None, "files.download"),
)
"""Every operation of the sandbox."""
