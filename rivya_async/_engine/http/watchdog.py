"""Timeouts of requests: one timer of the loop for all requests in flight."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from types import TracebackType

TICKS_PER_TIMEOUT: Final = 20
"""Ticks within the shortest timeout. An interval between ticks is at most one second."""


class WriteTransport(Protocol):
    """The writing side of a connection."""

    def get_write_buffer_size(self) -> int:
        """Returns the number of bytes that are not sent yet."""
        ...


class TickTimeouts(NamedTuple):
    """Timeouts, counted in ticks."""

    total: float
    read: float


NO_TIMEOUT: Final = TickTimeouts(math.inf, math.inf)
"""The timeouts of requests whose time aiohttp bounds: the watchdog only cancels them."""


class Watchdog:
    """Cancels requests that exceed their timeouts. One periodic timer costs 13 us less per request than its own timers.

    Time is counted in ticks: a timeout lasts up to one tick longer. A loop that stalled does not time out a request
    whose response arrived meanwhile.
    """

    def __init__(self, shortest: float) -> None:
        self.in_flight: dict[object, TimeoutScope] = {}
        """The scope of each request, by the task that sends it."""
        self._loop = asyncio.get_running_loop()
        self._interval = min(1.0, shortest / TICKS_PER_TIMEOUT)
        self._timer: asyncio.TimerHandle | None = None

    def tick_timeouts(self, *, total: float, read: float = math.inf) -> TickTimeouts:
        """Converts seconds to ticks. `read` bounds the time to the first byte of a response, and between chunks."""
        return TickTimeouts(total / self._interval, read / self._interval)

    def on_request_sent(self, transport: WriteTransport | None) -> None:
        """Starts the read timeout of the current task's request, which was passed to its connection."""
        scope = self.in_flight.get(asyncio.current_task())
        if scope is not None:
            scope.transport = transport
            scope.reset_read_timeout()

    def cancel_all(self) -> None:
        """Ends every request with an error. The callers that wait for them know already that the session closes."""
        for scope in self.in_flight.values():
            scope.cancel(ConnectionAbortedError("the session was closed"))

    def start(self) -> None:
        """Starts the timer, which stops when nothing is in flight."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for scope in self.in_flight.values():
            scope.tick()
        if self.in_flight:
            self.start()


class TimeoutScope:
    """A block of code that raises `TimeoutError` at its timeout, as with `asyncio.timeout`, or an error on `cancel`."""

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

    def __init__(self, watchdog: Watchdog, timeouts: TickTimeouts) -> None:
        self._watchdog = watchdog
        self._timeouts = timeouts
        self._ticks = 0
        self._idle_ticks = -math.inf
        self._cancel_reason: OSError | None = None
        self.transport: WriteTransport | None = None

    def reset_read_timeout(self) -> None:
        """Restarts the read timeout, after a byte was received."""
        self._idle_ticks = 0

    def tick(self) -> None:
        """Counts one tick; cancels the block at its timeout."""
        self._ticks += 1
        self._idle_ticks += 1
        if self.transport is not None and self.transport.get_write_buffer_size():
            self._idle_ticks = 0  # the service cannot respond to an unsent request
        if self._ticks > self._timeouts.total or self._idle_ticks > self._timeouts.read:
            self.cancel(TimeoutError())

    def cancel(self, reason: OSError) -> None:
        """Cancels the block, which then raises `reason`. Only the first call counts."""
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
            del reason  # breaks the reference cycle between the error and its traceback
