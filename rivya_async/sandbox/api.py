"""The operations of the service and their routes."""

from __future__ import annotations

from typing import Any, Final

from . import openapi, results
from .catalogue import load_catalogue
from .chat import ChatHandlers
from .files.handlers import FileHandlers
from .idempotency import IdempotencyStore
from .request_context import RequestContext, Route
from .request_log import RequestLog
from .responses import ApiError, ApiResponse, validation_error
from .service_state import ServiceState
from .validation import validate_generation
from .webhooks.handlers import WebhookHandlers

MAX_REPORTED_PROBLEMS: Final = 5
"""Problems that one error message lists."""


class Api:
    """The handlers of all operations, and the state on which they work."""

    def __init__(self, service_state: ServiceState, *, allow_local_webhooks: bool = False) -> None:
        self.service_state = service_state
        self.request_log = RequestLog()
        self.idempotency = IdempotencyStore(service_state.store)
        self.catalogue = load_catalogue()
        self.result_cache = results.RenderCache()
        self.files = FileHandlers(self.catalogue, service_state, self.request_log)
        self.webhooks = WebhookHandlers(service_state, allow_local=allow_local_webhooks)
        self.chat = ChatHandlers(service_state, self.request_log, self.catalogue, self.idempotency, self.files.get_kind)
        self._generation_responses: dict[str, tuple[str, ApiResponse]] = {}

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

    async def create_generation(self, context: RequestContext) -> ApiResponse:
        """Handles POST /generations."""
        body, canonical = await context.read_json()
        return await self.idempotency.run_once(context, canonical, lambda: self._purchase(context, body))

    async def _purchase(self, context: RequestContext, body: dict[str, Any]) -> ApiResponse:
        prompt, params = body.get("prompt") or "", body.get("params") or {}
        problems = validate_generation(self.catalogue, body) or self.files.validate_references(context, params)
        if problems:
            raise validation_error(" ".join(problems[:MAX_REPORTED_PROBLEMS]))
        model = self.catalogue.models[body["model"]]
        task = self.service_state.create_task(context.account_id, model, prompt, params, context.now)
        self.request_log.record_purchase(context.idempotency_key, context.idempotency_scope or ())
        self.webhooks.schedule_event(task)
        context.task_id = task.id
        return ApiResponse(task.encode("queued"), task_id=task.id)

    async def get_generation(self, context: RequestContext) -> ApiResponse:
        """Handles GET /generations/{task_id}. A response is encoded once per status, unless its links expire."""
        context.task_id = context.path_params["task_id"]
        task = context.get_record(self.service_state.tasks, "generation")
        status = task.status(context.now)
        context.reports_end = task.ends_at <= context.now
        cached_status, response = self._generation_responses.get(task.id, ("", None))
        links_expire = self.service_state.link_lifetime is not None and status == "succeeded"
        if response is None or cached_status != status or links_expire:
            response = ApiResponse(results.encode_with_links(self.service_state, task, context.now), task_id=task.id)
            self._generation_responses[task.id] = status, response
        return response

    async def get_result(self, context: RequestContext) -> ApiResponse:
        """Handles GET /results/{task_id}/{name}: a result file, without an API key."""
        context.task_id = context.path_params["task_id"]
        task = self.service_state.tasks.get(context.task_id)
        if task is None or task.status(context.now) != "succeeded":
            raise ApiError("not_found", "There is no such file.")
        if self.service_state.link_lifetime is not None and not results.is_link_valid(context.request, context.now):
            return results.LINK_EXPIRED
        artifact = await self.result_cache.get(task, context.path_params["name"])
        return results.file_response(artifact, context.request)


ROUTES: Final = (
    Route("GET /api/v1/models", None, "list_models"),
    Route("GET /api/v1/openapi.json", None, "get_openapi"),
    Route("POST /api/v1/generations", "generations:create", "create_generation"),
    Route("GET /api/v1/generations/{task_id}", "generations:read", "get_generation"),
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
    Route("GET /results/{task_id}/{name}", None, "get_result"),
    Route("GET /files/{name}", None, "files.download"),
)
"""Every operation of the sandbox."""
