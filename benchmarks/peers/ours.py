"""This SDK: `generate()`, with the poll policy set to the interval that all have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rivya_async import PollPolicy, RivyaSession

from .contender import Generate, prompt


@asynccontextmanager
async def opened(_variant: str) -> AsyncIterator[Generate]:
    """One session with its defaults."""
    async with RivyaSession() as session:

        async def generate(order: int, interval: float) -> None:
            await session.generate("z-image", prompt(order), poll=_every(interval))

        yield generate


def _every(interval: float) -> PollPolicy:
    """Polls that come `interval` seconds apart on the average: the SDK draws from floor to cap."""
    return PollPolicy(
        first=interval,
        base=interval * 1.25,
        cap=interval * 1.25,
        factor=1.0,
        floor=interval * 0.75,
        adaptive=False,
        timeout=3600,
    )
