"""A running sandbox with a fake clock and a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import attrs

from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.faults.registry import FAULT_HEADER
from tests.media_kit import media

START_TIME = 1_778_486_400.0
"""2026-05-11T08:00:00Z."""

SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
FILE = "GET /results/{task_id}/{name}"
UPLOAD = "POST /api/v1/files"


class FakeClock:
    """A clock that tests set, in epoch seconds."""

    def __init__(self) -> None:
        self.now = START_TIME

    def __call__(self) -> float:
        return self.now


@attrs.frozen
class HttpReply:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        """`error.code` of a complete error body."""
        error = self.json["error"]
        assert set(error) == {"code", "message", "requestId"}
        assert error["message"]
        assert error["requestId"].startswith("req_")
        assert self.headers["Content-Type"] == "application/json"
        return str(error["code"])


@attrs.define
class SandboxClient:
    sandbox: Sandbox
    clock: FakeClock
    http: aiohttp.ClientSession

    async def request(self, method: str, path: str, *, key: str | None = None, **options: Any) -> HttpReply:
        """Sends a request with an API key: the main one, or `key` ("" for none)."""
        secret = self.sandbox.api_key if key is None else key
        headers = {**({"Authorization": f"Bearer {secret}"} if secret else {}), **options.pop("headers", {})}
        async with self.http.request(method, path, headers=headers, **options) as response:
            return HttpReply(response.status, response.headers, await response.read())

    async def submit(self, *, idempotency_key: str | None = None, key: str | None = None, **body: Any) -> HttpReply:
        """Submits a generation of z-image, with the changes in `body`."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        request_body = {"model": "z-image", "prompt": "A lighthouse at dusk", **body}
        return await self.request("POST", "/api/v1/generations", key=key, json=request_body, headers=headers)

    async def poll(self, task_id: str, *, key: str | None = None) -> HttpReply:
        return await self.request("GET", f"/api/v1/generations/{task_id}", key=key)

    async def submit_task(self, **body: Any) -> str:
        """Submits a generation and returns the id of its task."""
        reply = await self.submit(**body)
        assert reply.status == 200
        return str(reply.json["id"])


async def wait_until(condition: Callable[[], bool]) -> None:
    """Waits at most 10 seconds for a condition."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the server keeps counts, not events
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running_sandbox(**options: Any) -> AsyncIterator[SandboxClient]:
    """Runs a sandbox with a fake clock."""
    clock = FakeClock()
    async with (
        Sandbox(clock=clock, **options) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, timeout=aiohttp.ClientTimeout(10)) as http,
    ):
        yield SandboxClient(sandbox, clock, http)


@contextmanager
def limited_file_size(room: int) -> Iterator[None]:
    """Limits the size of every file, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def upload_media(client: SandboxClient, name: str, kind: str) -> dict[str, Any]:
    form = aiohttp.FormData({"kind": kind})
    form.add_field("file", media(name.rpartition(".")[2]), filename=name)
    reply = await client.request("POST", "/api/v1/files", data=form)
    assert reply.status == 200, reply.raw
    data: dict[str, Any] = reply.json
    return data


async def request_with_fault(client: SandboxClient, line: str, path: str = "/api/v1/credits") -> HttpReply:
    return await client.request("GET", path, headers={FAULT_HEADER: line})
