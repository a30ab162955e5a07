"""Clients under measurement: each opens its connections, runs loads and returns the number of succeeded jobs."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import chain
from ssl import SSLContext, create_default_context
from typing import Any, Final

import aiohttp
import attrs

from rivya_async import Generation, PollPolicy, RivyaSession

from .processes import loop_factory, peak_kib, resident_kib
from .server import certificate

try:
    from orjson import loads
except ImportError:  # optional for the SDK too
    loads = json.loads  # type: ignore[assignment]

FIRST_POLL_JITTER: Final = 0.2
"""Relative jitter of the first poll."""

POLL_JITTER: Final = 0.5
"""Relative jitter of the other polls."""


@attrs.frozen
class Load:
    """A number of jobs, each of which ends at poll number `polls`."""

    jobs: int
    polls: int
    first: float
    interval: float
    is_paced: bool = False
    """True if the clients wait as users do: half a second between polls, and with the SDK's learned schedule."""

    @classmethod
    def paced(cls, jobs: int, polls: int) -> Load:
        """Creates a load with a poll of each job every 0.5 s, for which clients sleep unless there are many jobs."""
        return cls(jobs, polls, first=0.5, interval=0.5, is_paced=True)

    @classmethod
    def of(cls, jobs: int, polls: int) -> Load:
        """Creates a load with the same pressure at every size: one poll every 0.1 ms, more than a client can send.

        No client sleeps between requests, like the baseline. The first polls start after all jobs are submitted.
        """
        return cls(jobs, polls, first=0.05 + jobs * 0.5e-3, interval=jobs * 0.1e-3)

    def first_delay(self) -> float:
        """Draws the seconds from a submit to the first poll as the SDK does."""
        return self.first * random.uniform(1 - FIRST_POLL_JITTER, 1 + FIRST_POLL_JITTER)

    def next_delay(self) -> float:
        """Draws the seconds between two polls as the SDK does."""
        return self.interval * random.uniform(1 - POLL_JITTER, 1 + POLL_JITTER)


WARM_UP_LOAD: Final = Load(jobs=100, polls=3, first=0.1, interval=0.02)
"""Load that opens all connections and triggers lazy imports."""

CONCURRENCY: Final = 100
API_KEY: Final = "rvya_sk_benchmark"
MODEL: Final = "z-image"
PROMPT: Final = "A red kite over the sea, in the evening"

Run = Callable[[Load], Awaitable[int]]
Client = Callable[[str], AbstractAsyncContextManager[Run]]


@asynccontextmanager
async def open_bare_aiohttp(url: str) -> AsyncIterator[Run]:
    """Opens the baseline: aiohttp and JSON with back-to-back requests."""
    async with open_http(url) as http:

        async def work(jobs: Iterator[int]) -> int:
            succeeded = 0
            for _ in jobs:
                job = await submit(http, url)
                while job["status"] != "succeeded":
                    job = await poll(http, url, job["id"])
                succeeded += 1
            return succeeded

        async def run(load: Load) -> int:
            jobs = iter(range(load.jobs))
            return sum(await asyncio.gather(*(work(jobs) for _ in range(CONCURRENCY))))

        yield run


@asynccontextmanager
async def open_polling_loop(url: str) -> AsyncIterator[Run]:
    """Opens a hand-written client: gather, a polling loop and a sleep per job; the connector limits the connections."""
    async with open_http(url) as http:

        async def generate(load: Load) -> bool:
            job = await submit(http, url)
            delay = load.first_delay()
            while job["status"] != "succeeded":
                await asyncio.sleep(delay)
                job = await poll(http, url, job["id"])
                delay = load.next_delay()
            return True

        async def run(load: Load) -> int:
            return sum(await asyncio.gather(*(generate(load) for _ in range(load.jobs))))

        yield run


@asynccontextmanager
async def open_gather(url: str, *, fast: bool = False) -> AsyncIterator[Run]:
    """Opens this SDK with `generate()` under gather."""
    async with open_session(url, fast=fast) as session:

        async def run(load: Load) -> int:
            poll = _poll_policy(load)
            jobs = (session.generate(MODEL, PROMPT, poll=poll) for _ in range(load.jobs))
            return _count_succeeded(await asyncio.gather(*jobs))

        yield run


@asynccontextmanager
async def open_as_completed(url: str) -> AsyncIterator[Run]:
    """Opens this SDK with concurrent submits, then `as_completed()` over the task ids."""
    async with open_session(url) as session:

        async def submit(jobs: Iterator[int]) -> list[str]:
            return [(await session.submit(MODEL, PROMPT)).id for _ in jobs]

        async def run(load: Load) -> int:
            jobs = iter(range(load.jobs))
            task_ids = await asyncio.gather(*(submit(jobs) for _ in range(CONCURRENCY)))
            ends = session.as_completed(chain.from_iterable(task_ids), poll=_poll_policy(load))
            return sum([generation.succeeded async for generation in ends])

        yield run


CLIENTS: Final[dict[str, Client]] = {
    "bare aiohttp": open_bare_aiohttp,
    "hand-written loop": open_polling_loop,
    "gather(generate())": open_gather,
    "as_completed(ids)": open_as_completed,
    "gather, fast=True": partial(open_gather, fast=True),
}
"""All clients, the baseline first."""

BASELINE: Final = "bare aiohttp"
RIVYA_CLIENTS: Final = ("gather(generate())", "as_completed(ids)")
FAST_CLIENT: Final = "gather, fast=True"


def open_session(url: str, *, fast: bool = False) -> RivyaSession:
    """Returns a session of this SDK."""
    ssl = client_ssl(url)
    return RivyaSession(API_KEY, base_url=url, max_connections=CONCURRENCY, fast=fast, ssl=None if ssl is True else ssl)


def client_ssl(url: str) -> SSLContext | bool:
    """Returns the TLS context that trusts the certificate of the server."""
    return create_default_context(cafile=certificate()) if url.startswith("https:") else True


def open_http(url: str = "") -> aiohttp.ClientSession:
    """Returns a session of aiohttp."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONCURRENCY, ssl=client_ssl(url)),
        headers={"Authorization": f"Bearer {API_KEY}"},
    )


async def submit(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    body = {"model": MODEL, "prompt": PROMPT}
    async with http.post(f"{url}/api/v1/generations", json=body) as response:
        return _decode(await response.read())


async def poll(http: aiohttp.ClientSession, url: str, task_id: str) -> dict[str, Any]:
    async with http.get(f"{url}/api/v1/generations/{task_id}") as response:
        return _decode(await response.read())


def _decode(body: bytes) -> dict[str, Any]:
    record: dict[str, Any] = loads(body)
    return record


def _poll_policy(load: Load) -> PollPolicy:
    return PollPolicy(
        first=load.first,
        base=load.interval * (1 + POLL_JITTER),
        cap=load.interval * (1 + POLL_JITTER),
        factor=1.0,
        floor=load.interval * (1 - POLL_JITTER),
        adaptive=load.is_paced,
    )


def _count_succeeded(generations: list[Generation]) -> int:
    return sum(generation.succeeded for generation in generations)


async def measure_client(name: str, url: str, load: Load) -> dict[str, Any]:
    """Runs a client after a warm-up. Returns CPU and wall seconds, and the memory before and at its peak."""
    async with CLIENTS[name](url) as run:
        await run(WARM_UP_LOAD)
        gc.collect()
        before_kib = resident_kib()
        print("ready", flush=True)
        sys.stdin.readline()
        cpu, wall = time.process_time(), time.perf_counter()
        succeeded = await run(load)
        return {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "succeeded": succeeded,
            "before_kib": before_kib,
            "peak_kib": peak_kib(),
        }


def main() -> None:
    """Measures one client. Arguments: client, URL, load as JSON, `uvloop` or `asyncio`."""
    name, url, load, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        print(json.dumps(runner.run(measure_client(name, url, Load(**json.loads(load))))), flush=True)


if __name__ == "__main__":
    main()
