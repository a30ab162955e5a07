"""The yardstick: aiohttp and JSON, requests back to back, nothing that waits: it has no interval."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from orjson import loads

from .contender import Generate, prompt


@asynccontextmanager
async def opened(_variant: str) -> AsyncIterator[Generate]:
    """One session for all jobs, with as many connections as aiohttp allows by default."""
    url = os.environ["RIVYA_BASE_URL"]
    headers = {"Authorization": f"Bearer {os.environ['RIVYA_API_KEY']}"}
    async with aiohttp.ClientSession(headers=headers) as http:

        async def generate(order: int, _interval: float) -> None:
            body = {"model": "z-image", "prompt": prompt(order)}
            async with http.post(f"{url}/api/v1/generations", json=body) as response:
                job = loads(await response.read())
            while job["status"] != "succeeded":
                async with http.get(f"{url}/api/v1/generations/{job['id']}") as response:
                    job = loads(await response.read())

        yield generate
