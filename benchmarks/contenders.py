"""Who is measured. Each opens what it needs, then runs loads through it and says how many jobs it saw succeed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import chain
from typing import Any, Final

import aiohttp

from rivya_async import Generation, PollPolicy, RivyaSession

from .load import SPREAD_NEXT, Load

try:
    from orjson import loads
except ImportError:  # the SDK does without it as well
    loads = json.loads  # type: ignore[assignment]

CONCURRENCY: Final = 100
API_KEY: Final = "rvya_sk_benchmark"
MODEL: Final = "z-image"
PROMPT: Final = "A red kite over the sea, in the evening"

Run = Callable[[Load], Awaitable[int]]
Contender = Callable[[str], AbstractAsyncContextManager[Run]]


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Run]:
    """The yardstick: aiohttp and JSON, requests back to back, nothing that waits."""
    async with bare_http() as http:

        async def work(jobs: Iterator[int]) -> int:
            succeeded = 0
            for _ in jobs:
                job = await _submit(http, url)
                while job["status"] != "succeeded":
                    job = await bare_poll(http, url, job["id"])
                succeeded += 1
            return succeeded

        async def run(load: Load) -> int:
            jobs = iter(range(load.jobs))
            return sum(await asyncio.gather(*(work(jobs) for _ in range(CONCURRENCY))))

        yield run


@asynccontextmanager
async def hand_written(url: str) -> AsyncIterator[Run]:
    """What one would write by hand: gather, a loop and a sleep per job; the connector bounds what is in flight."""
    async with bare_http() as http:

        async def generate(load: Load) -> bool:
            job = await _submit(http, url)
            delay = load.first_delay()
            while job["status"] != "succeeded":
                await asyncio.sleep(delay)
                job = await bare_poll(http, url, job["id"])
                delay = load.next_delay()
            return True

        async def run(load: Load) -> int:
            return sum(await asyncio.gather(*(generate(load) for _ in range(load.jobs))))

        yield run


@asynccontextmanager
async def gathered(url: str) -> AsyncIterator[Run]:
    """This SDK: `generate()` under gather."""
    async with RivyaSession(API_KEY, base_url=url, max_connections=CONCURRENCY) as session:

        async def run(load: Load) -> int:
            poll = _policy(load)
            jobs = (session.generate(MODEL, PROMPT, poll=poll) for _ in range(load.jobs))
            return _succeeded(await asyncio.gather(*jobs))

        yield run


@asynccontextmanager
async def as_completed(url: str) -> AsyncIterator[Run]:
    """This SDK: a few submitters, then `as_completed()` over the task ids."""
    async with RivyaSession(API_KEY, base_url=url, max_connections=CONCURRENCY) as session:

        async def submit(jobs: Iterator[int]) -> list[str]:
            return [(await session.submit(MODEL, PROMPT)).id for _ in jobs]

        async def run(load: Load) -> int:
            jobs = iter(range(load.jobs))
            task_ids = await asyncio.gather(*(submit(jobs) for _ in range(CONCURRENCY)))
            ends = session.as_completed(chain.from_iterable(task_ids), poll=_policy(load))
            return sum([generation.succeeded async for generation in ends])

        yield run


CONTENDERS: Final[dict[str, Contender]] = {
    "bare aiohttp": bare,
    "hand-written loop": hand_written,
    "gather(generate())": gathered,
    "as_completed(ids)": as_completed,
}
"""The yardstick first; the SDK is what stands in `OURS`."""

YARDSTICK: Final = "bare aiohttp"
OURS: Final = ("gather(generate())", "as_completed(ids)")


def bare_http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONCURRENCY),
        headers={"Authorization": f"Bearer {API_KEY}"},
    )


async def _submit(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    body = {"model": MODEL, "prompt": PROMPT}
    async with http.post(f"{url}/api/v1/generations", json=body) as response:
        return _record(await response.read())


async def bare_poll(http: aiohttp.ClientSession, url: str, task_id: str) -> dict[str, Any]:
    async with http.get(f"{url}/api/v1/generations/{task_id}") as response:
        return _record(await response.read())


def _record(body: bytes) -> dict[str, Any]:
    record: dict[str, Any] = loads(body)
    return record


def _policy(load: Load) -> PollPolicy:
    return PollPolicy(
        first=load.first,
        base=load.interval * (1 + SPREAD_NEXT),
        cap=load.interval * (1 + SPREAD_NEXT),
        factor=1.0,
        floor=load.interval * (1 - SPREAD_NEXT),
        adaptive=False,
    )


def _succeeded(generations: list[Generation]) -> int:
    return sum(generation.succeeded for generation in generations)
