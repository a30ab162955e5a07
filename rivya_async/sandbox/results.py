"""The files of succeeded tasks: named by task and number, rendered when first asked for, kept while there is room."""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from typing import Final

from aiohttp import web

from .api_error import ApiError
from .media import Artifact, Brief, describe, render
from .responses import ApiResponse
from .task import Task

ROOM_BYTES: Final = 64 * 1024 * 1024
"""Rendered files that are kept; the least recently asked for go first."""

RENDERS_AT_ONCE: Final = 4
"""Worker threads that render at the same time."""


def names(task: Task) -> list[str]:
    """The file names of a task, such as `0.png`."""
    _, extension = describe(brief(task))
    return [f"{index}{extension}" for index in range(task.file_count)]


def links(base_url: str, task: Task, until: float | None) -> list[str]:
    """The URLs of a task's files, good until an instant, or for ever. The instant is not signed."""
    query = "" if until is None else f"?expires={until:.3f}"
    return [f"{base_url}/results/{task.id}/{name}{query}" for name in names(task)]


def is_good(request: web.BaseRequest, now: float) -> bool:
    """Whether the link that was asked for has not expired."""
    try:
        return now < float(request.query.get("expires", ""))
    except ValueError:
        return False


def brief(task: Task, index: int = 0) -> Brief:
    """What the renderer is asked for."""
    return Brief(task.category, task.model, task.prompt, task.params, task.seed, index)


EXPIRED: Final = ApiResponse(b"The link has expired.\n", 403, "text/plain")
"""As a host of files says it: not in the envelope of the API."""


class RenderCache:
    """Rendered files, the newest kept."""

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self._room = room_bytes
        self._held: OrderedDict[tuple[str, int], Artifact] = OrderedDict()
        self._gate = asyncio.Semaphore(RENDERS_AT_ONCE)

    async def fetch(self, task: Task, name: str) -> Artifact:
        """A file of this task; raises `Refused` if it has none of this name."""
        if name not in (known := names(task)):
            raise ApiError("not_found", "This task has no such file.")
        index = known.index(name)
        async with self._gate:
            artifact = self._held.get((task.id, index)) or await _rendered(brief(task, index))
            self._keep((task.id, index), artifact)
        return artifact

    def _keep(self, key: tuple[str, int], artifact: Artifact) -> None:
        if key not in self._held:
            self._room -= len(artifact.data)
        self._held[key] = artifact
        self._held.move_to_end(key)
        while self._room < 0 and self._held:
            _, dropped = self._held.popitem(last=False)
            self._room += len(dropped.data)


async def _rendered(what: Brief) -> Artifact:
    try:
        return await asyncio.to_thread(render, what)
    except ImportError as error:
        raise ApiError("internal_error", str(error)) from error


def partial(artifact: Artifact, request: web.BaseRequest) -> ApiResponse:
    """The whole file, or the part that a Range header asks for."""
    size = len(artifact.data)
    tag = f'"{zlib.crc32(artifact.data):08x}-{size:x}"'
    headers = {"Accept-Ranges": "bytes", "ETag": tag}
    asked = _range(request, tag)
    if asked is None:
        return ApiResponse(artifact.data, content_type=artifact.mime_type, headers=headers)
    start, stop, _ = asked.indices(size)
    if start >= stop:
        return ApiResponse(b"", 416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return ApiResponse(artifact.data[start:stop], 206, artifact.mime_type, headers)


def _range(request: web.BaseRequest, tag: str) -> slice | None:
    """The one range asked for; None for the whole file, also when the client's copy is of another file."""
    if "Range" not in request.headers or request.headers.get("If-Range", tag) != tag:
        return None
    try:
        return request.http_range
    except ValueError:
        return None
