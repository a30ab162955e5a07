"""replicate: `predictions.async_create` and `async_wait`; the interval is the client's `poll_interval`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from replicate.client import Client

from .contender import Generate, prompt


@asynccontextmanager
async def opened(_variant: str) -> AsyncIterator[Generate]:
    """One client with its defaults, which has no way of closing."""
    client = Client()

    async def generate(order: int, interval: float) -> None:
        client.poll_interval = interval
        prediction = await client.predictions.async_create("v1", {"prompt": prompt(order)})
        await prediction.async_wait()
        if prediction.status != "succeeded":
            raise RuntimeError(prediction.status)

    yield generate
