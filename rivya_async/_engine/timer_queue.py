"""A heap of timers that share one timer of the loop, on a clock that can be paused.

Ten thousand waits cost ten thousand heap entries and one timer of the loop. A pause delays every timer by its length.
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
"""The heap is rebuilt if more entries than this are cancelled, and more than a quarter of all."""

CLOCK_RESOLUTION: Final = time.get_clock_info("monotonic").resolution
"""Seconds by which the loop may fire a timer early."""


class TimerTarget(Protocol):
    """The callback of a timer."""

    def fire(self) -> None:
        """Called when the timer is due. Must neither wait nor raise."""


class Wakeup:
    """An awaitable that returns True after `wake`, and False after `fire`, at a deadline or a rejection."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[bool] = loop.create_future()

    def __await__(self) -> Generator[Any, None, bool]:
        return self._future.__await__()

    def fire(self) -> None:
        """Wakes the sleeper with False, unless it was woken."""
        if not self._future.done():
            self._future.set_result(False)

    def wake(self) -> bool:
        """Wakes the sleeper with True; returns False if it was woken or cancelled before."""
        if self._future.done():
            return False
        self._future.set_result(True)
        return True

    @property
    def was_woken(self) -> bool:
        """Returns whether the sleeper was woken with True."""
        return self._future.done() and not self._future.cancelled() and self._future.result()


class TimerHandle:
    """An entry of the heap. `target` is None after it has fired or was cancelled."""

    __slots__ = ("due", "slack", "target")

    def __init__(self, due: float, target: TimerTarget, slack: float) -> None:
        self.due = due
        self.slack = slack
        self.target: TimerTarget | None = target


class TimerQueue:
    """Fires targets in the order of their due times, on a clock that stands still while it is paused."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._sequence = count()
        self._cancelled = 0
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0  # on the loop's clock; uvloop's handle of a timer that is due at once has no time
        self._lag = 0.0
        self._paused_at: float | None = None

    def time(self) -> float:
        """Returns the time of this clock."""
        return self._loop.time() - self.lag

    @property
    def lag(self) -> float:
        """Returns the seconds by which this clock lags behind the loop's."""
        return self._lag if self._paused_at is None else self._lag + self._loop.time() - self._paused_at

    def call_at(self, due: float, target: TimerTarget, slack: float = 0.0) -> TimerHandle:
        """Fires `target` at `due` on this clock, or up to `slack` seconds earlier together with another target."""
        handle = TimerHandle(due, target, slack)
        heapq.heappush(self._heap, (due, next(self._sequence), handle))
        self._arm(due)
        return handle

    def cancel(self, handle: TimerHandle) -> None:
        """Cancels a timer, unless it has fired."""
        if handle.target is None:
            return
        handle.target = None
        self._cancelled += 1
        if self._cancelled > MAX_CANCELLED_ENTRIES and self._cancelled * 4 > len(self._heap):
            self._heap = [item for item in self._heap if item[2].target is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def pause(self) -> None:
        """Stops the clock."""
        if self._paused_at is None:
            self._paused_at = self._loop.time()

    def resume(self) -> float:
        """Restarts the clock; returns the seconds for which it was stopped."""
        if self._paused_at is None:
            return 0.0
        paused_for = self._loop.time() - self._paused_at
        self._lag, self._paused_at = self._lag + paused_for, None
        if self._heap:
            self._arm(self._heap[0][0])
        return paused_for

    def close(self) -> None:
        """Cancels every timer."""
        for _, _, handle in self._heap:
            handle.target = None  # its owner may still cancel it
        self._heap.clear()
        self._cancelled = 0
        self._disarm()

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def _arm(self, due: float) -> None:
        """Makes the loop's timer fire at `due` at the latest. An early timer costs less than a new one."""
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
        if self._heap and self._heap[0][0] > now:  # no target is due yet
            self._arm(self._heap[0][0])
            return
        while self._heap and self._paused_at is None:
            handle = self._heap[0][2]
            if handle.due - handle.slack > now:
                break
            heapq.heappop(self._heap)
            target, handle.target = handle.target, None
            if target is None:
                self._cancelled -= 1
            else:
                target.fire()  # this may replace the heap, by cancelling many timers
        if self._heap:
            self._arm(self._heap[0][0])
