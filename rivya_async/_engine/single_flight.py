"""A cache that computes each value once, however many callers ask for it at the same time."""

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
    """A cache of at most `max_size` results, each for `ttl` seconds. Failures are not cached."""

    def __init__(self, *, max_size: int, ttl: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_size = max_size
        self._ttl = ttl
        self._cache: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._in_flight: dict[K, _InFlightCall[V]] = {}

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """Returns the result of `make` for this key. Concurrent callers share one call of `make`.

        Cancelling one caller does not affect the others. Cancelling the last one cancels the call, and waits for it.
        """
        if key in self._cache:
            expires_at, value = self._cache[key]
            if self._loop.time() < expires_at:
                self._cache.move_to_end(key)
                return value
        call = self._in_flight.get(key)
        if call is None:
            call = self._in_flight[key] = _InFlightCall()
            call.task = self._loop.create_task(self._run(key, call, make))
        call.waiters += 1
        try:
            await asyncio.wait([call.task])  # not `shield`, which reports the error of a call without callers
            return call.task.result()
        except RivyaError as error:
            raise copy_error(error) from None
        finally:
            call.waiters -= 1
            if not call.waiters and not call.task.done():
                self._forget(key, call)
                call.task.cancel()
                await asyncio.wait([call.task])
            if call.task.done() and not call.task.cancelled():
                call.task.exception()  # marks an error as retrieved: the caller may be cancelled

    async def aclose(self) -> None:
        """Waits for the calls in flight."""
        await asyncio.gather(*(call.task for call in self._in_flight.values()), return_exceptions=True)

    async def _run(self, key: K, call: _InFlightCall[V], make: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await make()
        finally:
            self._forget(key, call)
        self._cache[key] = self._loop.time() + self._ttl, value
        self._cache.move_to_end(key)
        while len(self._cache) > self._max_size:
            self._cache.popitem(last=False)
        return value

    def _forget(self, key: K, call: _InFlightCall[V]) -> None:
        if self._in_flight.get(key) is call:
            del self._in_flight[key]


class _InFlightCall(Generic[V]):
    task: asyncio.Task[V]

    def __init__(self) -> None:
        self.waiters = 0
