"""A gentle end: what need not come to its end is cut, what would leave a doubt gets a moment more."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

GRACE_SECONDS: Final = 5.0
"""Seconds after a stop in which the answer to a purchase is waited for: its task id is worth it."""


class ShutdownRequested(Exception):
    """What is carried was asked to stop. It is caught where one job is carried, and nowhere else."""


class ShutdownSignal:
    """Asked for once; then everything inside of `cuts` ends with `ShutdownRequested`."""

    def __init__(self) -> None:
        self.is_set = False
        self.limits: dict[asyncio.Timeout, float] = {}

    def set(self) -> None:
        """Stop."""
        if self.is_set:
            return
        self.is_set = True
        now = asyncio.get_running_loop().time()
        for limit, grace in self.limits.items():
            limit.reschedule(now + grace)

    def scope(self, grace: float = 0.0) -> ShutdownScope:
        """What stands inside ends `grace` seconds after the stop, unless it ends by itself."""
        return ShutdownScope(self, grace)


class ShutdownScope:
    """Part of a job's way that a stop may cut. A class, since `asynccontextmanager` costs three times as much."""

    __slots__ = ("_grace", "_limit", "_stop")

    def __init__(self, stop: ShutdownSignal, grace: float) -> None:
        self._stop = stop
        self._grace = grace
        self._limit = asyncio.timeout(grace if stop.is_set else None)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._stop.limits[self._limit] = self._grace

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._stop.limits[self._limit]
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise ShutdownRequested from None
