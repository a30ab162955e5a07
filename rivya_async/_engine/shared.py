"""Doing a thing once for all who want it, and remembering for a while what came of it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from .._core.errors import RivyaError, copied

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Shared(Generic[K, V]):
    """At most `most` results are kept, each for `seconds`; failures are not."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._most = most
        self._seconds = seconds
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._flights: dict[K, _Flight[V]] = {}

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """What `make` gives for this key, made once for all who ask meanwhile.

        Cancelling one who waits leaves the others alone; with the last of them it is cancelled, and seen to end.
        """
        if key in self._kept:
            good_until, value = self._kept[key]
            if self._loop.time() < good_until:
                self._kept.move_to_end(key)
                return value
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = self._loop.create_task(self._fly(key, flight, make))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        except RivyaError as error:
            raise copied(error) from None
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()
                await asyncio.wait([flight.task])

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        await asyncio.gather(*(flight.task for flight in self._flights.values()), return_exceptions=True)

    async def _fly(self, key: K, flight: _Flight[V], make: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await make()
        finally:
            self._forget(key, flight)
        self._kept[key] = self._loop.time() + self._seconds, value
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value

    def _forget(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Generic[V]):
    task: asyncio.Task[V]

    def __init__(self) -> None:
        self.waiting = 0
