"""CPU per status request of the sandbox, compared with a minimal aiohttp.web handler.

CPU time of the server process: other load on the machine changes it little.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, cast

from aiohttp import web

from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.catalogue import load_catalogue

from .processes import read_line, start_module
from .report import format_table, show_progress, target

MIN_REQUESTS_PER_SECOND: Final = 4000.0
"""Target: minimum status requests per second of one core."""

JOBS: Final = 1000
CONNECTIONS: Final = 50
REQUESTS: Final = 20_000
WARM_UP: Final = 2000
JOB_AGE: Final = 10.0
"""Seconds since the creation of the jobs."""

SERVERS: Final = ("bare aiohttp.web", "sandbox")
API_KEY: Final = "rvya_sk_benchmark"

BODY: Final = b'{"id": "task_00000000000000000000", "status": "processing", "model": "z-image"}'.ljust(270)
"""Response body, as long as that of a running job."""


def run_benchmark(options: Namespace) -> str:
    """Measures and formats the table and the target."""
    rounds, requests = (2, REQUESTS // 4) if options.quick else (5, REQUESTS)
    result = asyncio.run(_measure(rounds, requests))
    bare = result[SERVERS[0]]
    rows = [[name, f"{1e6 * cost:.0f}", f"{1 / cost:,.0f}", f"{cost / bare:.2f}"] for name, cost in result.items()]
    ours = 1 / result[SERVERS[1]]
    return "\n".join(
        [
            f"Status requests to a server in a process of its own, {CONNECTIONS} connections, median of {rounds} "
            f"runs of {requests:,}",
            "",
            format_table(["server", "CPU us per request", "requests per CPU second", "ratio"], rows),
            "",
            target(
                f"{MIN_REQUESTS_PER_SECOND:,.0f} status requests per second of one core",
                f"{ours:,.0f}",
                met=ours >= MIN_REQUESTS_PER_SECOND,
            ),
        ]
    )


async def _measure(rounds: int, requests: int) -> dict[str, float]:
    """Returns CPU seconds per request of each server, measured alternately."""
    costs: dict[str, list[float]] = {name: [] for name in SERVERS}
    async with _run_server("bare") as bare, _run_server("sandbox") as sandbox:
        for turn in range(rounds):
            for name, server in zip(SERVERS, (bare, sandbox), strict=True):
                show_progress(f"round {turn + 1} of {rounds}: {name}")
                await _send_requests(server.port, WARM_UP)
                before = await server.cpu_seconds()
                await _send_requests(server.port, requests)
                costs[name].append((await server.cpu_seconds() - before) / requests)
    show_progress("")
    return {name: statistics.median(each) for name, each in costs.items()}


# --- the client -------------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """A connection that sends the next request after each complete response."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._done = done
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Sends the next request after a complete response."""
        self._unread += data
        head, end, body = self._unread.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            if not head.startswith(b"HTTP/1.1 200"):
                self._done.set_exception(RuntimeError(f"not the answer that is measured: {self._unread!r}"))
                return
            self._unread = b""
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """Fails: the server must keep the connection open."""
        if not self._done.done():
            self._done.set_exception(error or ConnectionResetError())

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._done.set_result(None)
        elif self._transport is not None:
            self._transport.write(request)


async def _send_requests(port: int, count: int) -> None:
    """Sends a number of status requests over all connections."""
    loop = asyncio.get_running_loop()
    requests = iter(list(itertools.islice(itertools.cycle(_requests()), count)))
    done = [loop.create_future() for _ in range(CONNECTIONS)]
    transports = [
        (await loop.create_connection(partial(Connection, requests, each), "127.0.0.1", port))[0] for each in done
    ]
    try:
        await asyncio.gather(*done)
    finally:
        for transport in transports:
            transport.abort()


def _requests() -> Sequence[bytes]:
    """Returns the raw request of each job."""
    return [
        f"GET /api/v1/generations/{task_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {API_KEY}\r\n"
        "Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nUser-Agent: benchmark\r\n\r\n".encode()
        for task_id in _task_ids()
    ]


def _task_ids() -> Sequence[str]:
    """Returns the task ids that the sandbox generates from its seed."""
    return tuple(_sandbox().service_state.tasks)


# --- the servers ------------------------------------------------------------------------------------------------------


class Server:
    """A server in another process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def cpu_seconds(self) -> float:
        """Returns the CPU seconds used so far."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"\n")
        return float(await read_line(self._process))


@asynccontextmanager
async def _run_server(name: str) -> AsyncIterator[Server]:
    process = await start_module(__name__, name)
    try:
        yield Server(process, int(await read_line(process)))
    finally:
        process.terminate()
        await process.wait()


def _sandbox() -> Sandbox:
    """Creates a sandbox with queued, running and ended jobs."""
    sandbox = Sandbox(seed=1, speed=1, api_key=API_KEY, clock=lambda: JOB_AGE)
    account, model = next(iter(sandbox.service_state.accounts)), load_catalogue().models["z-image"]
    for _ in range(JOBS):
        sandbox.service_state.create_task(account, model, "A red kite", {}, 0.0)
    return sandbox


async def _bare(_: web.BaseRequest) -> web.Response:
    return web.Response(body=BODY, content_type="application/json")


async def _serve(name: str) -> None:
    """Prints the port, then the used CPU time for each input line."""
    if name == "bare":
        runner = web.ServerRunner(web.Server(_bare, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
    else:
        print((await _sandbox().start()).base_url.rpartition(":")[2], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(time.process_time(), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
