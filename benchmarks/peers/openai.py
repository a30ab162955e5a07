"""openai: a response in background mode, polled with the loop of its guide; the interval is the caller's.

`videos.create_and_poll` is deprecated: its service has been announced to shut down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI, DefaultAioHttpClient

from .contender import Generate, prompt


@asynccontextmanager
async def opened(variant: str) -> AsyncIterator[Generate]:
    """One client with its defaults, over the HTTP client that its README offers where the variant asks for it."""
    async with AsyncOpenAI(http_client=DefaultAioHttpClient() if variant == "aiohttp" else None) as client:

        async def generate(order: int, interval: float) -> None:
            response = await client.responses.create(model="gpt-5.2", input=prompt(order), background=True)
            while response.status in {"queued", "in_progress"}:
                await asyncio.sleep(interval)
                response = await client.responses.retrieve(response.id)
            if response.status != "completed":
                raise RuntimeError(response.status)

        yield generate
