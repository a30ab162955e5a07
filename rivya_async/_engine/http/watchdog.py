"""How long attempts may take: one timer looks after all that are on their way."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from types import TracebackType

TICKS_PER_TIMEOUT: Final = 20
"""Looks within the shortest time-out; one a second at least."""


class WriteTransport(Protocol):
    """The writing half of a connection."""

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left yet."""
        ...


class TickTimeouts(NamedTuple):
    """Time-outs, counted in looks."""

    total: float
    read: float


NO_TIMEOUT: Final = TickTimeouts(math.inf, math.inf)
"""Of what keeps its own time, and need only be cut."""


class Watchdog:
    """Cuts the attempts that take too long. A look around now and then saves the timers of each request: 13 us.

    Time is counted in looks, so a time-out lasts up to a look longer, and a loop that stood still takes nothing from an
    attempt whose answer came meanwhile.
    """

    def __init__(self, shortest: float) -> None:
        self.in_flight: dict[object, TimeoutScope] = {}
        """By the task that makes it."""
        self._loop = asyncio.get_running_loop()
        self._interval = min(1.0, shortest / TICKS_PER_TIMEOUT)
        self._timer: asyncio.TimerHandle | None = None

    def tick_timeouts(self, *, total: float, read: float = math.inf) -> TickTimeouts:
        """With what may take `total` seconds, and `read` until its answer begins and between two pieces of it."""
        return TickTimeouts(total / self._interval, read / self._interval)

    def on_request_sent(self, outgoing: WriteTransport | None) -> None:
        """The attempt of this task is handed over to its connection: from now on an answer is awaited."""
        attempt = self.in_flight.get(asyncio.current_task())
        if attempt is not None:
            attempt.transport = outgoing
            attempt.reset_read_timeout()

    def cancel_all(self) -> None:
        """End all that is on its way: whoever awaits it has been told that the session closes."""
        for attempt in self.in_flight.values():
            attempt.cancel(ConnectionAbortedError("the session was closed"))

    def start(self) -> None:
        """Look around while there is something in flight."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for attempt in self.in_flight.values():
            attempt.tick()
        if self.in_flight:
            self.start()


class TimeoutScope:
    """A block of code that ends with `TimeoutError` when it takes too long, as under `asyncio.timeout`; or when cut."""

    __slots__ = (
        "_cancel_reason",
        "_cancelling",
        "_idle_ticks",
        "_task",
        "_ticks",
        "_timeouts",
        "_watchdog",
        "transport",
    )

    def __init__(self, watchdog: Watchdog, patience: TickTimeouts) -> None:
        self._watchdog = watchdog
        self._timeouts = patience
        self._ticks = 0
        self._idle_ticks = -math.inf
        self._cancel_reason: OSError | None = None
        self.transport: WriteTransport | None = None

    def reset_read_timeout(self) -> None:
        """There was a sign of life."""
        self._idle_ticks = 0

    def tick(self) -> None:
        """Grow older; be cut when it is enough."""
        self._ticks += 1
        self._idle_ticks += 1
        if self.transport is not None and self.transport.get_write_buffer_size():
            self._idle_ticks = 0  # what has not left cannot be answered
        if self._ticks > self._timeouts.total or self._idle_ticks > self._timeouts.read:
            self.cancel(TimeoutError())

    def cancel(self, reason: OSError) -> None:
        """End with this error; the first reason counts."""
        if self._cancel_reason is None:
            self._cancel_reason = reason
            self._task.cancel()

    def __enter__(self) -> TimeoutScope:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._watchdog.in_flight[self._task] = self
        self._watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._watchdog.in_flight[self._task]
        reason, self._cancel_reason = self._cancel_reason, None
        if reason is None or self._task.uncancel() > self._cancelling or kind is not asyncio.CancelledError:
            return
        try:
            raise reason
        finally:
            del reason  # an error that its own traceback holds would wait for the garbage collector
