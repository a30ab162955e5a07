"""How many requests are in flight at once: one bound for a session, two lanes before it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from .._core.errors import NotSent
from .scheduler import Alarm

if TYPE_CHECKING:
    from .scheduler import Scheduler

CALLS_PER_POLL: Final = 4
"""While both lanes wait, calls go first, and every fifth place is a poll's."""


class Gate:
    """At most `limit` places. A cancelled holder or waiter gives its place back; nobody overtakes within a lane."""

    def __init__(self, limit: int, scheduler: Scheduler) -> None:
        self._limit = limit
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._free = limit
        self._calls: deque[Alarm] = deque()
        self._polls: deque[Alarm] = deque()
        self._calls_in_a_row = 0
        self._closed = False
        self._idle: asyncio.Event | None = None

    async def enter(self, *, is_poll: bool = False, deadline: float | None = None) -> None:
        """Take a place, or wait for one until `deadline`. Raises `NotSent` without one, and once the gate is closed."""
        is_late = deadline is not None and self._loop.time() >= deadline
        if self._free and not self._closed and not is_late:
            self._free -= 1
            return
        if not (self._closed or is_late) and await self._wait_in(self._polls if is_poll else self._calls, deadline):
            return
        why = "the session was closed" if self._closed else "the deadline passed"
        raise NotSent(f"{why} before this was sent: nothing was sent")

    def leave(self) -> None:
        """Give the place to the next in line."""
        if self._wake_next():
            return
        self._free += 1
        if self._idle is not None and self._free == self._limit:
            self._idle.set()

    def close(self) -> None:
        """Turn away all that wait, and all that come."""
        self._closed = True
        for lane in (self._calls, self._polls):
            for place in lane:
                place.fire()
            lane.clear()

    async def aclose(self) -> None:
        """Close, then wait until all that are in flight have left."""
        self.close()
        if self._free < self._limit:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    async def _wait_in(self, lane: deque[Alarm], deadline: float | None) -> bool:
        place = Alarm(self._loop)
        lane.append(place)
        entry = None if deadline is None else self._scheduler.at(deadline, place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.was_woken:
                self.leave()  # the place had just become ours
            raise
        finally:
            if entry is not None:
                self._scheduler.cancel(entry)

    def _wake_next(self) -> bool:
        if (self._calls_in_a_row < CALLS_PER_POLL or not self._polls) and _wake_first(self._calls):
            self._calls_in_a_row += 1
            return True
        self._calls_in_a_row = 0
        return _wake_first(self._polls) or _wake_first(self._calls)


def _wake_first(lane: deque[Alarm]) -> bool:
    """Wake the first that still waits; False where nobody does."""
    while lane:
        if lane.popleft().wake():
            return True
    return False
