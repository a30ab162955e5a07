"""A bench for tests of the session: quick policies, ears on the hooks, and a plain server that is not the sandbox."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
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
from rivya_async.sandbox import Sandbox

SUBMIT: Final = "POST /api/v1/generations"
POLL: Final = "GET /api/v1/generations/{task_id}"
FILE: Final = "GET /results/{task_id}/{name}"
ASK: Final = "POST /api/v1/chat/completions"
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


class Ears(Hooks):
    """Keeps all that the hooks tell."""

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


def opened(sandbox: Sandbox, **options: Any) -> RivyaSession:
    """A session at this sandbox, impatient unless `options` say otherwise."""
    settings: dict[str, Any] = {"base_url": sandbox.base_url, "retry": QUICK_RETRY, "poll": QUICK_POLL}
    return RivyaSession(sandbox.api_key, **{**settings, **options})


async def until(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    """Let the loop run until this is so."""
    async with asyncio.timeout(seconds):
        while not happened():  # noqa: ASYNC110 - what happens, happens elsewhere
            await asyncio.sleep(0.001)


async def settled(sandbox: Sandbox) -> None:
    """Wait until nothing is on its way to the sandbox any more and nothing is being answered."""
    seen = -1
    async with asyncio.timeout(10):
        while seen != sandbox.request_log.count() or sandbox.request_log.in_flight:
            seen = sandbox.request_log.count()
            await asyncio.sleep(0.05)


def bought_twice(sandbox: Sandbox) -> dict[str, int]:
    """The keys under which more than one job was bought."""
    return {key: count for key, count in sandbox.request_log.purchases_by_key.items() if count > 1}


def open_sockets() -> int:
    """How many sockets this process holds, but for those of event loops."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:  # the one that was listing
            continue
    return count


@attrs.frozen
class Seen:
    """A request as the plain server saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answering = Callable[[Seen], Awaitable[web.StreamResponse] | web.StreamResponse]


class Peer:
    """A plain HTTP server: answers as it is told, keeps every request whole."""

    def __init__(self, answer: Answering | None = None) -> None:
        self.answer: Answering = answer or (lambda _: web.Response(body=b"{}", content_type="application/json"))
        self.seen: list[Seen] = []
        self.url = ""

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(request.method, request.path_qs, request.headers.copy(), body))
        response = self.answer(self.seen[-1])
        return response if isinstance(response, web.StreamResponse) else await response


@asynccontextmanager
async def peer(answer: Answering | None = None) -> AsyncIterator[Peer]:
    """A plain server on loopback, under a name that is another origin than the sandbox's."""
    told = Peer(answer)
    runner = web.ServerRunner(web.Server(told.serve, access_log=None), shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield told
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that speaks bytes; gives its URL."""

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


async def script(
    code: str, *arguments: str, cwd: Path | None = None, strict: bool = True, dev: bool = True
) -> tuple[int, str, str]:
    """Run Python in a process of its own; its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *([sys.executable] + ["-X", "dev"] * dev + ["-W", "error"] * strict + ["-c", code, *arguments]),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def record(task_id: str = "task_1", status: str = "queued", **more: Any) -> dict[str, Any]:
    """The least that the service could say of a job."""
    return {"id": task_id, "status": status, "model": "z-image", **more}


def ids(generations: list[Generation]) -> set[str]:
    """The task ids of these records."""
    return {generation.id for generation in generations}
