"""Pauses between the tries of a step that failed."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._engine.shutdown import ShutdownSignal

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries of a step, each of which made several attempts of its own."""


class Backoff:
    """The pauses of one step: each is twice as long as the one before, with equal jitter, until a shutdown.

    The first pause takes `first` seconds, the longest one `longest`. `retry_for` is the number of seconds for which
    the step may be repeated. `uniform` draws from [0, 1).
    """

    def __init__(
        self,
        stop: ShutdownSignal,
        uniform: Callable[[], float],
        *,
        first: float | None = None,
        longest: float | None = None,
        retry_for: float = math.inf,
    ) -> None:
        self._stop = stop
        self._uniform = uniform
        self._pauses = backoff.expo(factor=first or FIRST_PAUSE, max_value=longest or LONGEST_PAUSE)
        next(self._pauses)  # it yields None first: the generator is made for `send`
        self._pause = next(self._pauses)
        self._until = asyncio.get_running_loop().time() + retry_for
        self.count = 0
        """Pauses so far."""

    def has_time_left(self) -> bool:
        """Returns True where the next pause ends in time."""
        return asyncio.get_running_loop().time() + self._pause <= self._until

    async def pause(self) -> None:
        """Sleeps until the next try. Raises `ShutdownRequested` at a shutdown."""
        pause, self._pause = self._pause, next(self._pauses)
        self.count += 1
        async with self._stop.scope():
            await asyncio.sleep(pause * (0.5 + self._uniform() / 2))
