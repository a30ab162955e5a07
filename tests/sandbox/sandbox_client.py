"""A bench for tests of the sandbox: a clock that tests set, a plain HTTP client, replies as values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs

from rivya_async.sandbox import Sandbox

START_TIME = 1_778_486_400.0
"""2026-05-11T08:00:00Z."""

SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
FILE = "GET /results/{task_id}/{name}"
UPLOAD = "POST /api/v1/files"


class FakeClock:
    """Epoch seconds that move only when told."""

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
        """`error.code`, after a check that the envelope is whole."""
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
        """One request with an API key: the main one, or `key` ("" for none)."""
        secret = self.sandbox.api_key if key is None else key
        headers = {**({"Authorization": f"Bearer {secret}"} if secret else {}), **options.pop("headers", {})}
        async with self.http.request(method, path, headers=headers, **options) as response:
            return HttpReply(response.status, response.headers, await response.read())

    async def submit(self, *, idempotency_key: str | None = None, key: str | None = None, **body: Any) -> HttpReply:
        """Order a generation: z-image unless `body` says more."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        whole = {"model": "z-image", "prompt": "A lighthouse at dusk", **body}
        return await self.request("POST", "/api/v1/generations", key=key, json=whole, headers=headers)

    async def poll(self, task_id: str, *, key: str | None = None) -> HttpReply:
        return await self.request("GET", f"/api/v1/generations/{task_id}", key=key)

    async def submit_task(self, **body: Any) -> str:
        """The id of a new task."""
        reply = await self.submit(**body)
        assert reply.status == 200
        return str(reply.json["id"])


async def wait_until(happened: Callable[[], bool]) -> None:
    """Let the loop run until this is so; 10 seconds at most."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110  the server keeps counts, not events
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running_sandbox(**options: Any) -> AsyncIterator[SandboxClient]:
    """A sandbox that is running, on a clock of our own."""
    clock = FakeClock()
    async with (
        Sandbox(clock=clock, **options) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, timeout=aiohttp.ClientTimeout(10)) as http,
    ):
        yield SandboxClient(sandbox, clock, http)
