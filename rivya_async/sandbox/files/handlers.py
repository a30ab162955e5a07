"""Handlers of the Files API."""

from __future__ import annotations

import asyncio
from typing import Final

import attrs

from ..catalogue import MEGABYTE
from ..media import Artifact
from ..request_context import RequestContext
from ..request_log import LoggedUpload, RequestLog
from ..responses import ApiError, ApiResponse
from ..results import file_response
from ..service_state import ServiceState
from .file_store import FileStore
from .multipart_upload import receive_form

MAX_UPLOAD_BYTES: Final = 128 * MEGABYTE
"""Bytes after which an upload is rejected unread, for every model."""


@attrs.define
class FileHandlers:
    """Handlers of uploads and of uploaded files."""

    store: FileStore
    service_state: ServiceState
    request_log: RequestLog

    async def upload(self, context: RequestContext) -> ApiResponse:
        """Handles POST /files."""
        context.send_continue()
        form = await receive_form(context.request, self.store.folder, max_bytes=MAX_UPLOAD_BYTES)
        fields = (form.fields.get(name) for name in ("kind", "model", "client_request_id"))
        context.upload = LoggedUpload(form.name, form.size, *fields)
        file = await self.store.add(form, context.account_id, context.now)
        context.upload = attrs.evolve(context.upload, file_id=file.id)
        self.request_log.record_upload()
        return ApiResponse(file.encode(self.service_state.base_url))

    async def get(self, context: RequestContext) -> ApiResponse:
        """Handles GET /files/{file_id} of the API."""
        file = self.store.get(context.account_id, context.path_params["file_id"])
        if file is None:
            raise ApiError("not_found", "There is no such file.")
        return ApiResponse(file.encode(self.service_state.base_url))

    async def download(self, context: RequestContext) -> ApiResponse:
        """Handles GET /files/{name}: the content of a file, without an API key."""
        file = self.store.get_by_url_path(context.request.path)
        if file is None:
            raise ApiError("not_found", "There is no such file.")
        data = await asyncio.to_thread(file.path.read_bytes)
        return file_response(Artifact(data, file.mime_type, file.path.suffix), context.request)
