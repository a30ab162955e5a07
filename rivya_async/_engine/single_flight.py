"""Doing a thing once for all who want it, and remembering for a while what came of it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from .._core.errors import RivyaError, copy_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class SingleFlightCache(Generic[K, V]):
    """At most `max_size` results, each kept for `ttl` seconds; failures are not kept."""

    def __init__(self, *, max_size: int, ttl: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_size = max_size
        self._ttl = ttl
        self._cache: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._in_flight: dict[K, _InFlightCall[V]] = {}

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """What `make` gives for this key, made once for all who ask meanwhile.

        Cancelling one who waits leaves the others alone; with the last of them it is cancelled, and seen to end.
        """
        if key in self._cache:
            good_until, value = self._cache[key]
            if self._loop.time() < good_until:
                self._cache.move_to_end(key)
                return value
        flight = self._in_flight.get(key)
        if flight is None:
            flight = self._in_flight[key] = _InFlightCall()
            flight.task = self._loop.create_task(self._run(key, flight, make))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        except RivyaError as error:
            raise copy_error(error) from None
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()
                await asyncio.wait([flight.task])

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        await asyncio.gather(*(flight.task for flight in self._in_flight.values()), return_exceptions=True)

    async def _run(self, key: K, flight: _InFlightCall[V], make: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await make()
        finally:
            self._forget(key, flight)
        self._cache[key] = self._loop.time() + self._ttl, value
        self._cache.move_to_end(key)
        while len(self._cache) > self._max_size:
            self._cache.popitem(last=False)
        return value

    def _forget(self, key: K, flight: _InFlightCall[V]) -> None:
        if self._in_flight.get(key) is flight:
            del self._in_flight[key]


class _InFlightCall(Generic[V]):
    task: asyncio.Task[V]

    def __init__(self) -> None:
        self.waiters = 0
