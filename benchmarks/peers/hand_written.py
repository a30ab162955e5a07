"""What one would write by hand: gather, a loop and a sleep per job; aiohttp's connector bounds what is in flight."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from orjson import loads

from .contender import Generate, prompt


@asynccontextmanager
async def opened(_variant: str) -> AsyncIterator[Generate]:
    """One session for all jobs; a bad status raises."""
    url = os.environ["RIVYA_BASE_URL"]
    headers = {"Authorization": f"Bearer {os.environ['RIVYA_API_KEY']}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:

        async def generate(order: int, interval: float) -> None:
            body = {"model": "z-image", "prompt": prompt(order)}
            async with http.post(f"{url}/api/v1/generations", json=body) as response:
                job = loads(await response.read())
            while job["status"] != "succeeded":
                await asyncio.sleep(interval)
                async with http.get(f"{url}/api/v1/generations/{job['id']}") as response:
                    job = loads(await response.read())

        yield generate
