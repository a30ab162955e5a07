"""Handlers of generations and of their result files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from . import results
from .files.file_store import FileStore
from .idempotency import IdempotencyStore
from .request_context import RequestContext
from .request_log import RequestLog
from .responses import ApiError, ApiResponse, validation_error
from .service_state import ServiceState
from .task import Task, encode_generation
from .validation import validate_generation

MAX_REPORTED_PROBLEMS: Final = 5
"""Problems that one error message lists."""


@attrs.define
class GenerationHandlers:
    """Handlers of generations and of their files. `on_create` receives each new task."""

    service_state: ServiceState
    request_log: RequestLog
    files: FileStore
    idempotency: IdempotencyStore
    on_create: Callable[[Task], None]
    cache: results.RenderCache = attrs.field(factory=results.RenderCache)
    _responses: dict[str, tuple[str, ApiResponse]] = attrs.field(factory=dict)

    async def create(self, context: RequestContext) -> ApiResponse:
        """Handles POST /generations."""
        body, canonical = await context.read_json()
        return await self.idempotency.run_once(context, canonical, lambda: self._purchase(context, body))

    async def _purchase(self, context: RequestContext, body: dict[str, Any]) -> ApiResponse:
        prompt, params = body.get("prompt") or "", body.get("params") or {}
        problems = validate_generation(self.files.catalogue, body) or self.files.validate_references(
            context.account_id, params, self.service_state.base_url
        )
        if problems:
            raise validation_error(" ".join(problems[:MAX_REPORTED_PROBLEMS]))
        model = self.files.catalogue.models[body["model"]]
        task = self.service_state.create_task(context.account_id, model, prompt, params, context.now)
        self.request_log.record_purchase(context.idempotency_key, context.idempotency_scope or ())
        self.on_create(task)
        context.task_id = task.id
        return ApiResponse(encode_generation(task, "queued"), task_id=task.id)

    async def get(self, context: RequestContext) -> ApiResponse:
        """Handles GET /generations/{task_id}. A response is encoded once per status, unless its links expire."""
        task_id = context.task_id = context.path_params["task_id"]
        task = self.service_state.get_task(context.account_id, task_id)
        if task is None:
            raise ApiError("not_found", "There is no such generation.")
        status = task.status(context.now)
        context.reports_end = task.ends_at <= context.now
        cached_status, response = self._responses.get(task_id, ("", None))
        links_expire = self.service_state.link_lifetime is not None and status == "succeeded"
        if response is None or cached_status != status or links_expire:
            response = ApiResponse(results.encode_with_links(self.service_state, task, context.now), task_id=task_id)
            self._responses[task_id] = status, response
        return response

    async def get_result(self, context: RequestContext) -> ApiResponse:
        """Handles GET /results/{task_id}/{name}: a result file, without an API key."""
        context.task_id = context.path_params["task_id"]
        task = self.service_state.tasks.get(context.task_id)
        if task is None or task.status(context.now) != "succeeded":
            raise ApiError("not_found", "There is no such file.")
        if self.service_state.link_lifetime is not None and not results.is_link_valid(context.request, context.now):
            return results.LINK_EXPIRED
        return results.file_response(await self.cache.get(task, context.path_params["name"]), context.request)
