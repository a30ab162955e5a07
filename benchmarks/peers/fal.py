"""fal-client: `subscribe` with its `interval`.

It polls at once after the submit, and fetches the result by a request of its own. It speaks TLS only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fal_client import AsyncClient

from .contender import Generate, prompt


@asynccontextmanager
async def opened(_variant: str) -> AsyncIterator[Generate]:
    """One client with its defaults, which has no way of closing."""
    client = AsyncClient()

    async def generate(order: int, interval: float) -> None:
        result = await client.subscribe("fal-ai/flux", {"prompt": prompt(order)}, interval=interval)
        if not result["images"]:
            raise RuntimeError("no image")

    yield generate
