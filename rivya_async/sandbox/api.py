"""The operations of the API: from a visit to an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import attrs

from . import idempotency, openapi, results
from .api_error import ApiError
from .catalogue import Catalogue, load
from .chat.handlers import ChatHandlers
from .files.file_store import MAX_UPLOAD_BYTES, FileStore
from .files.multipart_upload import receive
from .media import Artifact
from .request_context import RequestContext, parse
from .request_log import LoggedUpload, RequestLog
from .responses import ApiResponse
from .router import Route
from .run_once import once
from .service_state import ServiceState
from .task import Task, encode
from .validation import problems
from .webhooks.handlers import WebhookHandlers

SHOWN_PROBLEMS: Final = 5
"""Problems that one refusal names."""


@attrs.define
class Api:
    """What the operations work on. `base_url` is where the result files are, by links good for `link_lifetime`."""

    service_state: ServiceState
    request_log: RequestLog
    base_url: str = ""
    allow_local_webhooks: bool = False
    link_lifetime: float | None = None
    catalogue: Catalogue = attrs.field(factory=load)
    shelf: results.RenderCache = attrs.field(factory=results.RenderCache)
    memory: idempotency.IdempotencyStore = attrs.field(init=False)
    files: FileStore = attrs.field(init=False)
    chat: ChatHandlers = attrs.field(init=False)
    webhooks: WebhookHandlers = attrs.field(init=False)
    _looks: dict[str, tuple[str, ApiResponse]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.memory = idempotency.IdempotencyStore(self.service_state.store)
        self.files = FileStore(self.catalogue, self.service_state.seed, self.service_state.store)
        self.chat = ChatHandlers(self.service_state, self.request_log, self.catalogue, self.memory, self.files.kind_of)
        self.webhooks = WebhookHandlers(self.service_state, self._told, allow_local=self.allow_local_webhooks)

    async def models(self, _: RequestContext) -> ApiResponse:
        """GET /models."""
        return ApiResponse(self.catalogue.listing)

    async def openapi(self, _: RequestContext) -> ApiResponse:
        """GET /openapi.json."""
        return ApiResponse(openapi.document(ROUTES, self.base_url))

    async def credits(self, visit: RequestContext) -> ApiResponse:
        """GET /credits."""
        balance = self.service_state.credits(visit.account_id, visit.now)
        return ApiResponse(json.dumps({"current_credits": balance}).encode())

    async def create(self, visit: RequestContext) -> ApiResponse:
        """POST /generations: replay what is stored under the key, or buy."""
        body, canonical = parse(await visit.read())
        return await once(self.memory, visit, canonical, lambda: self._buy(visit, body))

    async def _buy(self, visit: RequestContext, body: dict[str, Any]) -> ApiResponse:
        found = problems(self.catalogue, body) or self.files.reference_problems(
            visit.account_id, body.get("params") or {}, self.base_url
        )
        if found:
            raise ApiError("validation_failed", " ".join(found[:SHOWN_PROBLEMS]))
        model = self.catalogue.models[body["model"]]
        prompt, params = body.get("prompt") or "", body.get("params") or {}
        task = self.service_state.create(visit.account_id, model, prompt, params, visit.now)
        self.request_log.record_purchase(visit.idempotency_key, visit.claimed or ())
        self.webhooks.expect(task)
        visit.task_id = task.id
        return ApiResponse(encode(task, "queued"), task_id=task.id)

    async def read(self, visit: RequestContext) -> ApiResponse:
        """GET /generations/{task_id}. An answer is encoded once per status, but for links that expire."""
        task_id = visit.task_id = visit.arguments["task_id"]
        task = self.service_state.task(visit.account_id, task_id)
        if task is None:
            raise ApiError("not_found", "There is no such generation.")
        status = task.status(visit.now)
        visit.tells_end = task.ends_at <= visit.now
        seen, answer = self._looks.get(task_id, ("", None))
        urls_change = self.link_lifetime is not None and status == "succeeded"
        if answer is None or seen != status or urls_change:
            urls = self._urls(task, visit.now) if status == "succeeded" else ()
            answer = ApiResponse(encode(task, status, urls), task_id=task_id)
            self._looks[task_id] = status, answer
        return answer

    def _told(self, task: Task) -> dict[str, Any]:
        """The generation as the event of its end tells it."""
        status = task.status(task.ends_at)
        urls = self._urls(task, task.ends_at) if status == "succeeded" else ()
        told: dict[str, Any] = json.loads(encode(task, status, urls))
        return told

    def _urls(self, task: Task, now: float) -> Sequence[str]:
        return results.links(self.base_url, task, None if self.link_lifetime is None else now + self.link_lifetime)

    async def result(self, visit: RequestContext) -> ApiResponse:
        """GET /results/{task_id}/{name}: the file itself, for whoever knows the link."""
        visit.task_id = visit.arguments["task_id"]
        task = self.service_state.tasks.get(visit.task_id)
        if task is None or task.status(visit.now) != "succeeded":
            raise ApiError("not_found", "There is no such file.")
        if self.link_lifetime is not None and not results.is_good(visit.request, visit.now):
            return results.EXPIRED
        return results.partial(await self.shelf.fetch(task, visit.arguments["name"]), visit.request)

    async def upload(self, visit: RequestContext) -> ApiResponse:
        """POST /files: take a file to disk, and keep it if it is one that the service takes."""
        visit.let_come()
        parcel = await receive(visit.request, self.files.folder, most_bytes=MAX_UPLOAD_BYTES)
        fields = parcel.fields
        visit.upload = LoggedUpload(
            parcel.name, parcel.size, fields.get("kind"), fields.get("model"), fields.get("client_request_id")
        )
        file = await self.files.take(parcel, visit.account_id, visit.now)
        visit.upload = attrs.evolve(visit.upload, file_id=file.id)
        self.request_log.record_upload()
        return ApiResponse(file.encode(self.base_url))

    async def file(self, visit: RequestContext) -> ApiResponse:
        """GET /files/{file_id}."""
        file = self.files.file(visit.account_id, visit.arguments["file_id"])
        if file is None:
            raise ApiError("not_found", "There is no such file.")
        return ApiResponse(file.encode(self.base_url))

    async def content(self, visit: RequestContext) -> ApiResponse:
        """GET /files/{name}: the uploaded file itself, for whoever knows the link."""
        file = self.files.at(visit.request.path)
        if file is None:
            raise ApiError("not_found", "There is no such file.")
        data = await asyncio.to_thread(file.path.read_bytes)
        return results.partial(Artifact(data, file.mime_type, file.path.suffix), visit.request)


MANAGE: Final = "webhooks:manage"

ROUTES: Final = (
    Route("GET /api/v1/models", None, Api.models),
    Route("GET /api/v1/openapi.json", None, Api.openapi),
    Route("POST /api/v1/generations", "generations:create", Api.create),
    Route("GET /api/v1/generations/{task_id}", "generations:read", Api.read),
    Route("POST /api/v1/chat/completions", "chat:create", lambda api, visit: api.chat.complete(visit)),
    Route("POST /api/v1/chat/completions/stream", "chat:create", lambda api, visit: api.chat.stream(visit)),
    Route("GET /api/v1/chat/sessions", "chat:read", lambda api, visit: api.chat.sessions(visit)),
    Route("GET /api/v1/chat/sessions/{session_id}", "chat:read", lambda api, visit: api.chat.session(visit)),
    Route("POST /api/v1/files", "files:create", Api.upload),
    Route("GET /api/v1/files/{file_id}", "files:read", Api.file),
    Route("GET /api/v1/credits", "credits:read", Api.credits),
    Route("POST /api/v1/webhooks", MANAGE, lambda api, visit: api.webhooks.create(visit)),
    Route("GET /api/v1/webhooks", MANAGE, lambda api, visit: api.webhooks.endpoints(visit)),
    Route("GET /api/v1/webhooks/{endpoint_id}", MANAGE, lambda api, visit: api.webhooks.endpoint(visit)),
    Route("PATCH /api/v1/webhooks/{endpoint_id}", MANAGE, lambda api, visit: api.webhooks.update(visit)),
    Route("DELETE /api/v1/webhooks/{endpoint_id}", MANAGE, lambda api, visit: api.webhooks.revoke(visit)),
    Route("POST /api/v1/webhooks/{endpoint_id}/rotate-secret", MANAGE, lambda api, visit: api.webhooks.rotate(visit)),
    Route("POST /api/v1/webhooks/{endpoint_id}/test", MANAGE, lambda api, visit: api.webhooks.test(visit)),
    Route("GET /api/v1/webhooks/{endpoint_id}/deliveries", MANAGE, lambda api, visit: api.webhooks.deliveries(visit)),
    Route("GET /api/v1/webhook-events", MANAGE, lambda api, visit: api.webhooks.events(visit)),
    Route("GET /results/{task_id}/{name}", None, Api.result),
    Route("GET /files/{name}", None, Api.content),
)
"""Every operation of the sandbox. A scope of None needs no key."""
