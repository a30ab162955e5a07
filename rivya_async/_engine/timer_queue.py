"""What has to be done later: one heap of due times, one timer of the loop.

It knows due times, not policies. Ten thousand waits cost ten thousand heap entries and one timer. Its clock can stand
still: what was due then comes later by as much, and in the same rhythm.
"""

from __future__ import annotations

import heapq
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

MAX_CANCELLED_ENTRIES: Final = 64
"""The heap is rebuilt when more entries than this are dead, and more dead than alive."""


CLOCK_RESOLUTION: Final = time.get_clock_info("monotonic").resolution
"""Seconds by which the loop may call a timer early."""


class TimerTarget(Protocol):
    """What can be due."""

    def fire(self) -> None:
        """Its time has come. Must neither wait nor raise."""


class Wakeup:
    """One who sleeps: until woken with True, or, as due or turned away, with False."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[bool] = loop.create_future()

    def __await__(self) -> Generator[Any, None, bool]:
        return self._future.__await__()

    def fire(self) -> None:
        """Wake it with False, unless it is awake."""
        if not self._future.done():
            self._future.set_result(False)

    def wake(self) -> bool:
        """Wake it with True; False where it is awake, or gone."""
        if self._future.done():
            return False
        self._future.set_result(True)
        return True

    @property
    def was_woken(self) -> bool:
        """Whether it was woken with True."""
        return self._future.done() and not self._future.cancelled() and self._future.result()


class TimerHandle:
    """A place in the heap; `target` is None once it has fired or was cancelled."""

    __slots__ = ("due", "slack", "target")

    def __init__(self, due: float, target: TimerTarget, slack: float) -> None:
        self.due = due
        self.slack = slack
        self.target: TimerTarget | None = target


class TimerQueue:
    """Fires targets when they are due, in the order of their due times, on a clock that runs like the loop's.

    While it is paused the clock stands still. `lag` is how many seconds it has stood still in all.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._sequence = count()
        self._cancelled = 0
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0  # on the loop's clock; uvloop's handle of a timer that is due at once cannot tell
        self._lag = 0.0
        self._paused_at: float | None = None

    def time(self) -> float:
        """Now, on this clock."""
        return self._loop.time() - self.lag

    @property
    def lag(self) -> float:
        """Seconds by which this clock is behind the loop's."""
        return self._lag if self._paused_at is None else self._lag + self._loop.time() - self._paused_at

    def call_at(self, due: float, target: TimerTarget, slack: float = 0.0) -> TimerHandle:
        """Fire `target` at `due`, an instant on this clock, or up to `slack` seconds before, along with another."""
        entry = TimerHandle(due, target, slack)
        heapq.heappush(self._heap, (due, next(self._sequence), entry))
        self._arm(due)
        return entry

    def cancel(self, entry: TimerHandle) -> None:
        """Forget an entry; nothing happens where it has fired."""
        if entry.target is None:
            return
        entry.target = None
        self._cancelled += 1
        if self._cancelled > MAX_CANCELLED_ENTRIES and self._cancelled * 2 > len(self._heap):
            self._heap = [item for item in self._heap if item[2].target is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def pause(self) -> None:
        """Stop the clock, unless it stands."""
        if self._paused_at is None:
            self._paused_at = self._loop.time()

    def resume(self) -> float:
        """Let the clock run on; the seconds for which it stood."""
        if self._paused_at is None:
            return 0.0
        stood = self._loop.time() - self._paused_at
        self._lag, self._paused_at = self._lag + stood, None
        if self._heap:
            self._arm(self._heap[0][0])
        return stood

    def close(self) -> None:
        """Forget everything."""
        for _, _, entry in self._heap:
            entry.target = None  # its owner may still cancel it
        self._heap.clear()
        self._cancelled = 0
        self._disarm()

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def _arm(self, due: float) -> None:
        """See that the timer fires at `due` at the latest. One that fires too early costs less than to set it anew."""
        due += self._lag
        if self._paused_at is not None or (self._timer is not None and self._timer_due <= due):
            return
        self._disarm()
        self._timer, self._timer_due = self._loop.call_at(due, self._fire_due), due

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire_due(self) -> None:
        self._timer = None
        now = self.time() + CLOCK_RESOLUTION
        if self._heap and self._heap[0][0] > now:  # set too early: it is nobody's time
            self._arm(self._heap[0][0])
            return
        while self._heap and self._paused_at is None:
            entry = self._heap[0][2]
            if entry.due - entry.slack > now:
                break
            heapq.heappop(self._heap)
            target, entry.target = entry.target, None
            if target is None:
                self._cancelled -= 1
            else:
                target.fire()  # it may cancel so many that the heap is made anew
        if self._heap:
            self._arm(self._heap[0][0])
