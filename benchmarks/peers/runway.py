"""runwayml: `create` and `wait_for_task_output`, which polls every 6 s give or take 1.5 s and has no option for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runwayml import AsyncRunwayML, DefaultAioHttpClient

from .contender import Generate, prompt


@asynccontextmanager
async def opened(variant: str) -> AsyncIterator[Generate]:
    """One client with its defaults, over the HTTP client that its README offers where the variant asks for it."""
    async with AsyncRunwayML(http_client=DefaultAioHttpClient() if variant == "aiohttp" else None) as client:

        async def generate(order: int, _interval: float) -> None:
            task = await client.text_to_image.create(model="gen4_image", prompt_text=prompt(order), ratio="1024:1024")
            await task.wait_for_task_output()

        yield generate
