"""How many requests are in flight at once: one bound for a session, two lanes before it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from .._core.errors import NotSent

CALLS_PER_POLL: Final = 4
"""While both lanes wait, calls go first, and every fifth place is a poll's."""


class Gate:
    """At most `limit` places. A cancelled holder or waiter gives its place back; nobody overtakes within a lane."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._calls: deque[asyncio.Future[bool]] = deque()
        self._polls: deque[asyncio.Future[bool]] = deque()
        self._calls_in_a_row = 0
        self._closed = False
        self._idle: asyncio.Event | None = None

    async def enter(self, *, is_poll: bool = False) -> None:
        """Take a place, or wait for one. Raises `NotSent` once the gate is closed."""
        if self._free and not self._closed:
            self._free -= 1
            return
        if self._closed or not await self._wait_in(self._polls if is_poll else self._calls):
            raise NotSent("the session was closed before this was sent: nothing was sent")

    def leave(self) -> None:
        """Give the place to the next in line."""
        place = self._next()
        if place is not None:
            place.set_result(True)
            return
        self._free += 1
        if self._idle is not None and self._free == self._limit:
            self._idle.set()

    async def aclose(self) -> None:
        """Turn away all that wait, then wait until all that are in flight have left."""
        self._closed = True
        for lane in (self._calls, self._polls):
            for place in lane:
                if not place.done():
                    place.set_result(False)
            lane.clear()
        if self._free < self._limit:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    async def _wait_in(self, lane: deque[asyncio.Future[bool]]) -> bool:
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lane.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.leave()  # the place had just become ours
            raise

    def _next(self) -> asyncio.Future[bool] | None:
        if self._calls_in_a_row < CALLS_PER_POLL or not self._polls:
            call = _first_waiting(self._calls)
            if call is not None:
                self._calls_in_a_row += 1
                return call
        self._calls_in_a_row = 0
        return _first_waiting(self._polls) or _first_waiting(self._calls)


def _first_waiting(lane: deque[asyncio.Future[bool]]) -> asyncio.Future[bool] | None:
    while lane:
        place = lane.popleft()
        if not place.done():
            return place
    return None
