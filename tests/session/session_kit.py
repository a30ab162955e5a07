"""Helpers of the session tests: quick policies, recording hooks, and a plain server beside the sandbox."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from aiohttp import web

from rivya_async import (
    AttemptDetails,
    DownloadDetails,
    Generation,
    Hooks,
    PollDetails,
    PollPolicy,
    RetryDetails,
    RetryPolicy,
    RivyaSession,
)
from rivya_async._engine.connection import Connection
from rivya_async._engine.http.transport import Transport
from rivya_async.sandbox import Sandbox

SUBMIT: Final = "POST /api/v1/generations"
POLL: Final = "GET /api/v1/generations/{task_id}"
FILE: Final = "GET /results/{task_id}/{name}"
CHAT: Final = "POST /api/v1/chat/completions"
STREAM: Final = "POST /api/v1/chat/completions/stream"
UPLOAD: Final = "POST /api/v1/files"
MODELS: Final = "GET /api/v1/models"
CREDITS: Final = "GET /api/v1/credits"

FAST: Final = 100_000.0
"""A sandbox speed at which every job has ended by its first poll."""

SLOW: Final = 0.001
"""A sandbox speed at which no job ends during a test."""

QUICK_RETRY: Final = RetryPolicy(max_attempts=5, base=0.002, cap=0.03, max_elapsed=20.0)
QUICK_POLL: Final = PollPolicy(first=0.005, base=0.005, cap=0.03, floor=0.002, adaptive=False, timeout=20.0)


class RecordingHooks(Hooks):
    """Hooks that record every call."""

    def __init__(self) -> None:
        self.attempts: list[AttemptDetails] = []
        self.retries: list[RetryDetails] = []
        self.polls: list[PollDetails] = []
        self.downloads: list[DownloadDetails] = []

    def on_attempt(self, details: AttemptDetails) -> None:
        self.attempts.append(details)

    def on_retry(self, details: RetryDetails) -> None:
        self.retries.append(details)

    def on_poll(self, details: PollDetails) -> None:
        self.polls.append(details)

    def on_download(self, details: DownloadDetails) -> None:
        self.downloads.append(details)


def open_session(sandbox: Sandbox, **options: Any) -> RivyaSession:
    """Returns a session of the sandbox with quick policies unless `options` replace them."""
    settings: dict[str, Any] = {"base_url": sandbox.base_url, "retry": QUICK_RETRY, "poll": QUICK_POLL}
    return RivyaSession(sandbox.api_key, **{**settings, **options})


def use_fast_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets all sessions without `http` and `transport` use the fast transport."""
    pytest.importorskip("httptools")

    def open_fast(connection: Connection) -> Transport:
        has_own = connection.http is None and connection.transport is None
        return open_connection(attrs.evolve(connection, fast=has_own))

    open_connection = Connection.open
    monkeypatch.setattr(Connection, "open", open_fast)


async def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until a condition is true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition has no event
            await asyncio.sleep(0.001)


async def wait_until_idle(sandbox: Sandbox) -> None:
    """Waits until no request is in flight."""
    seen = -1
    async with asyncio.timeout(10):
        while seen != sandbox.request_log.count() or sandbox.request_log.in_flight:
            seen = sandbox.request_log.count()
            await asyncio.sleep(0.05)


def duplicate_purchases(sandbox: Sandbox) -> dict[str, int]:
    """Returns the idempotency keys with more than one purchase, and their numbers."""
    return {key: count for key, count in sandbox.request_log.purchases_by_key.items() if count > 1}


def open_sockets() -> int:
    """Returns the number of open sockets of this process."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:  # the handle of this iteration
            continue
    return count


@attrs.frozen
class ReceivedRequest:
    """A request that the plain server received."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Responder = Callable[[ReceivedRequest], Awaitable[web.StreamResponse] | web.StreamResponse]


class PlainServer:
    """A plain HTTP server that answers by a function and records every request."""

    def __init__(self, answer: Responder | None = None) -> None:
        self.answer: Responder = answer or (lambda _: web.Response(body=b"{}", content_type="application/json"))
        self.requests: list[ReceivedRequest] = []
        self.url = ""

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(ReceivedRequest(request.method, request.path_qs, request.headers.copy(), body))
        response = self.answer(self.requests[-1])
        return response if isinstance(response, web.StreamResponse) else await response


@asynccontextmanager
async def plain_server(answer: Responder | None = None) -> AsyncIterator[PlainServer]:
    """Runs a plain server on loopback. Its origin differs from the sandbox's."""
    server = PlainServer(answer)
    runner = web.ServerRunner(web.Server(server.serve, access_log=None), shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Runs a server that writes raw bytes, and yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def run_script(
    code: str, *arguments: str, cwd: Path | None = None, strict: bool = True, dev: bool = True
) -> tuple[int, str, str]:
    """Runs Python code in a process of its own. Returns its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *([sys.executable] + ["-X", "dev"] * dev + ["-W", "error"] * strict + ["-c", code, *arguments]),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def generation_body(task_id: str = "task_1", status: str = "queued", **more: Any) -> dict[str, Any]:
    """Returns the smallest valid body of a generation."""
    return {"id": task_id, "status": status, "model": "z-image", **more}


def task_ids(generations: list[Generation]) -> set[str]:
    """Returns the task ids of generations."""
    return {generation.id for generation in generations}
