"""Result files of succeeded tasks: rendered at the first request, then cached."""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from typing import Final

from aiohttp import web

from .media import Artifact, RenderRequest, render
from .responses import ApiError, ApiResponse
from .service_state import ServiceState, Task

CACHE_BYTES: Final = 64 * 1024 * 1024
"""Bytes of rendered files that are kept."""

MAX_CONCURRENT_RENDERS: Final = 4
"""Threads that render at the same time."""

LINK_EXPIRED: Final = ApiResponse(b"The link has expired.\n", 403, "text/plain")
"""The response to an expired link: plain text, as file hosts answer, not the API's error body."""


def result_names(task: Task) -> list[str]:
    """Returns the file names of a task, such as `0.png`."""
    suffix = render_request(task).file_format.suffix
    return [f"{index}.{suffix}" for index in range(task.file_count)]


def result_urls(base_url: str, task: Task, expires_at: float | None) -> list[str]:
    """Returns the URLs of a task's files; None never expires. The expiry is not signed."""
    query = "" if expires_at is None else f"?expires={expires_at:.3f}"
    return [f"{base_url}/results/{task.id}/{name}{query}" for name in result_names(task)]


def encode_with_links(service_state: ServiceState, task: Task, now: float) -> bytes:
    """Returns the generation object of a task at `now`, with the links of its files."""
    status, lifetime = task.status(now), service_state.link_lifetime
    expires_at = None if lifetime is None else now + lifetime
    return task.encode(status, result_urls(service_state.base_url, task, expires_at) if status == "succeeded" else ())


def is_link_valid(request: web.BaseRequest, now: float) -> bool:
    """Returns True if the requested link has not expired."""
    try:
        return now < float(request.query.get("expires", ""))
    except ValueError:
        return False


def render_request(task: Task, index: int = 0) -> RenderRequest:
    """Returns the renderer's input for a file of a task."""
    return RenderRequest(task.category, task.model, task.prompt, task.params, task.seed, index)


class RenderCache:
    """Rendered files; the least recently used are evicted."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._free_bytes = max_bytes
        self._files: OrderedDict[tuple[str, int], Artifact] = OrderedDict()
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_RENDERS)

    async def get(self, task: Task, name: str) -> Artifact:
        """Returns a file of this task; raises `ApiError` for an unknown name."""
        names = result_names(task)
        if name not in names:
            raise ApiError("not_found", "This task has no such file.")
        key = task.id, names.index(name)
        async with self._semaphore:
            artifact = self._files.get(key)
            if artifact is None:
                try:
                    artifact = await asyncio.to_thread(render, render_request(task, key[1]))
                except ImportError as error:
                    raise ApiError("internal_error", str(error)) from error
        if self._files.pop(key, None) is None:
            self._free_bytes -= len(artifact.data)
        self._files[key] = artifact  # as the last one
        while self._free_bytes < 0 and self._files:
            self._free_bytes += len(self._files.popitem(last=False)[1].data)
        return artifact


def file_response(artifact: Artifact, request: web.BaseRequest) -> ApiResponse:
    """Returns the file, or the part that a Range header requests."""
    size = len(artifact.data)
    etag = f'"{zlib.crc32(artifact.data):08x}-{size:x}"'
    headers = {"Accept-Ranges": "bytes", "ETag": etag}
    requested = _requested_range(request, etag)
    if requested is None:
        return ApiResponse(artifact.data, content_type=artifact.mime_type, headers=headers)
    start, stop, _ = requested.indices(size)
    if start >= stop:
        return ApiResponse(b"", 416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return ApiResponse(artifact.data[start:stop], 206, artifact.mime_type, headers)


def _requested_range(request: web.BaseRequest, etag: str) -> slice | None:
    """Returns the requested range; None for the whole file, also if the client's copy is of another file."""
    if "Range" not in request.headers or request.headers.get("If-Range", etag) != etag:
        return None
    try:
        return request.http_range
    except ValueError:
        return None
