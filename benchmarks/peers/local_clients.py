"""Clients of this API: bare aiohttp as the baseline, a hand-written polling loop and this SDK."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from orjson import loads

from rivya_async import PollPolicy, RivyaSession

from .clients import Generate, make_prompt


@asynccontextmanager
async def open_bare_aiohttp(_variant: str) -> AsyncIterator[Generate]:
    """Opens aiohttp with back-to-back requests and without poll intervals."""
    async with aiohttp.ClientSession(headers=_headers()) as http:
        yield _polling_loop(http, None)


@asynccontextmanager
async def open_polling_loop(_variant: str) -> AsyncIterator[Generate]:
    """Opens aiohttp with a sleep before each poll. aiohttp's connector limits the connections."""
    async with aiohttp.ClientSession(headers=_headers(), raise_for_status=True) as http:
        yield _polling_loop(http, asyncio.sleep)


@asynccontextmanager
async def open_rivya(_variant: str) -> AsyncIterator[Generate]:
    """Opens this SDK with its defaults and the poll interval of all clients."""
    async with RivyaSession() as session:

        async def generate(number: int, interval: float) -> None:
            poll = PollPolicy(
                first=interval,
                base=interval * 1.25,
                cap=interval * 1.25,
                factor=1.0,
                floor=interval * 0.75,
                adaptive=False,
                timeout=3600,
            )
            await session.generate("z-image", make_prompt(number), poll=poll)

        yield generate


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {os.environ['RIVYA_API_KEY']}"}


def _polling_loop(http: aiohttp.ClientSession, pause: Callable[[float], Awaitable[Any]] | None) -> Generate:
    url = f"{os.environ['RIVYA_BASE_URL']}/api/v1/generations"

    async def generate(number: int, interval: float) -> None:
        async with http.post(url, json={"model": "z-image", "prompt": make_prompt(number)}) as response:
            job = loads(await response.read())
        while job["status"] != "succeeded":
            if pause is not None:
                await pause(interval)
            async with http.get(f"{url}/{job['id']}") as response:
                job = loads(await response.read())

    return generate
