"""google-genai: `generate_videos`, polled with the loop of its own docstring; the interval is the caller's.

In its enterprise mode, the only one in which this version makes videos, with the custom base URL of its README.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from google import genai
from google.genai import types

from .contender import Generate, prompt


@asynccontextmanager
async def opened(variant: str) -> AsyncIterator[Generate]:
    """One client with its defaults. It takes aiohttp where that is installed, unless it is handed another client."""
    options = types.HttpOptions(
        base_url=os.environ["GOOGLE_VERTEX_BASE_URL"],
        base_url_resource_scope=types.ResourceScope.COLLECTION,
        httpx_async_client=None if variant == "aiohttp" else httpx2.AsyncClient(),
    )
    async with genai.Client(enterprise=True, http_options=options).aio as client:

        async def generate(order: int, interval: float) -> None:
            source = types.GenerateVideosSource(prompt=prompt(order))
            operation = await client.models.generate_videos(model="veo-3.1-generate-001", source=source)
            while not operation.done:
                await asyncio.sleep(interval)
                operation = await client.operations.get(operation)
            if operation.response is None:
                raise RuntimeError(operation.error)

        yield generate
