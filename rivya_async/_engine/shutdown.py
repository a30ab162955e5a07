"""Graceful shutdown of jobs: most steps are cancelled at once, a purchase in flight gets a grace period."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

GRACE_SECONDS: Final = 5.0
"""Seconds for which a shutdown waits for the response to a purchase, because it contains the task id."""


class ShutdownRequested(Exception):
    """A shutdown was requested. The code that runs one job catches this error, and no other code does."""


class ShutdownSignal:
    """A request to shut down, after which every block in `scope` raises `ShutdownRequested`."""

    def __init__(self) -> None:
        self.is_set = False
        self.timeouts: dict[asyncio.Timeout, float] = {}

    def set(self) -> None:
        """Requests the shutdown."""
        if self.is_set:
            return
        self.is_set = True
        now = asyncio.get_running_loop().time()
        for timeout, grace in self.timeouts.items():
            timeout.reschedule(now + grace)

    def scope(self, grace: float = 0.0) -> ShutdownScope:
        """Returns a scope whose block is cancelled `grace` seconds after the shutdown was requested."""
        return ShutdownScope(self, grace)


class ShutdownScope:
    """A block that a shutdown may cancel. A class, because `asynccontextmanager` costs three times as much."""

    __slots__ = ("_grace", "_signal", "_timeout")

    def __init__(self, signal: ShutdownSignal, grace: float) -> None:
        self._signal = signal
        self._grace = grace
        self._timeout = asyncio.timeout(grace if signal.is_set else None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._signal.timeouts[self._timeout] = self._grace

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._signal.timeouts[self._timeout]
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise ShutdownRequested from None
