"""A gentle end: what need not come to its end is cut, what would leave a doubt gets a moment more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Stopped(Exception):
    """The run was asked to stop. It is caught where a row is carried, and nowhere else."""


class Stop:
    """Asked for once; then everything inside of `cuts` ends with `Stopped`."""

    def __init__(self) -> None:
        self.is_set = False
        self._limits: dict[asyncio.Timeout, float] = {}

    def set(self) -> None:
        """Stop."""
        if self.is_set:
            return
        self.is_set = True
        now = asyncio.get_running_loop().time()
        for limit, grace in self._limits.items():
            limit.reschedule(now + grace)

    @asynccontextmanager
    async def cuts(self, grace: float = 0.0) -> AsyncIterator[None]:
        """What stands inside ends `grace` seconds after the stop, unless it ends by itself."""
        limit = asyncio.timeout(grace if self.is_set else None)
        self._limits[limit] = grace
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise Stopped from None
            raise
        finally:
            del self._limits[limit]
