"""Timeouts of requests: one timer of the loop for all requests in flight."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from ..._core.policies import Timeouts

TICKS_PER_TIMEOUT: Final = 20
"""Ticks within the shortest timeout. An interval between ticks is at most one second."""

ROUNDING_ERROR: Final = 1e-6
"""Maximum error of a sum of ticks in seconds."""


class WriteTransport(Protocol):
    """The writing side of a connection."""

    def get_write_buffer_size(self) -> int:
        """Returns the number of bytes that are not sent yet."""
        ...


class AttemptTimeouts(NamedTuple):
    """Timeouts of one attempt in seconds. `read` bounds the wait for each chunk of a response."""

    total: float
    read: float = math.inf


NO_TIMEOUT: Final = AttemptTimeouts(math.inf)
"""The timeouts of requests whose time aiohttp bounds: the watchdog only cancels them."""


class Watchdog:
    """Cancels requests that exceed their timeouts. One periodic timer costs 13 us less per request than its own timers.

    Time is counted in ticks: a timeout lasts up to one tick longer. A loop that stalled does not time out a request
    whose response arrived meanwhile. A task may send a request while it waits for another, as a middleware may.
    """

    def __init__(self) -> None:
        self.in_flight: dict[object, TimeoutScope] = {}
        """The innermost scope of each task that sends requests."""
        self._loop = asyncio.get_running_loop()
        self._interval = 1.0
        self._timer: asyncio.TimerHandle | None = None

    def allow(self, timeouts: Timeouts) -> None:
        """Shortens the interval between ticks to a twentieth of the shortest of these timeouts."""
        shortest = min(timeouts.read, timeouts.total, timeouts.chat)
        if shortest / TICKS_PER_TIMEOUT < self._interval:
            self._interval = shortest / TICKS_PER_TIMEOUT
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                self.start()

    def on_request_sent(self, transport: WriteTransport | None) -> None:
        """Starts the read timeout of the current task's request, which was passed to its connection."""
        scope = self.in_flight.get(asyncio.current_task())
        if scope is not None:
            scope.transport = transport
            scope.reset_read_timeout()

    def cancel_all(self) -> None:
        """Ends every request with an error. The callers that wait for them know already that the session closes."""
        for scope in self._scopes():
            scope.cancel(ConnectionAbortedError("the session was closed"))

    def start(self) -> None:
        """Starts the timer, which stops when nothing is in flight."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for scope in self._scopes():
            scope.tick(self._interval)
        if self.in_flight:
            self.start()

    def _scopes(self) -> Iterator[TimeoutScope]:
        for scope in self.in_flight.values():
            each: TimeoutScope | None = scope
            while each is not None:
                yield each
                each = each.outer


class TimeoutScope:
    """A block of code that raises `TimeoutError` at its timeout, as with `asyncio.timeout`, or an error on `cancel`."""

    __slots__ = (
        "_cancel_reason",
        "_cancelling",
        "_elapsed",
        "_idle",
        "_task",
        "_timeouts",
        "_watchdog",
        "outer",
        "transport",
    )

    def __init__(self, watchdog: Watchdog, timeouts: AttemptTimeouts) -> None:
        self._watchdog = watchdog
        self._timeouts = timeouts
        self._elapsed = 0.0
        self._idle = -math.inf
        self._cancel_reason: OSError | None = None
        self.transport: WriteTransport | None = None

    def reset_read_timeout(self) -> None:
        """Restarts the read timeout, after a byte was received."""
        self._idle = 0.0

    def tick(self, interval: float) -> None:
        """Counts the seconds since the last tick, of which the first may be incomplete. Cancels at a timeout."""
        if self.transport is not None and self.transport.get_write_buffer_size():
            self._idle = -interval  # the service cannot respond to an unsent request
        total, read = self._timeouts
        if self._elapsed >= total - ROUNDING_ERROR or self._idle >= read - ROUNDING_ERROR:
            self.cancel(TimeoutError())
        self._elapsed += interval
        self._idle += interval

    def cancel(self, reason: OSError) -> None:
        """Cancels the block, which then raises `reason`. Only the first call counts."""
        if self._cancel_reason is None:
            self._cancel_reason = reason
            self._task.cancel()

    def __enter__(self) -> TimeoutScope:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        in_flight = self._watchdog.in_flight
        self.outer = in_flight.get(self._task)
        in_flight[self._task] = self
        self._watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.outer is None:
            del self._watchdog.in_flight[self._task]
        else:
            self._watchdog.in_flight[self._task] = self.outer
        reason, self._cancel_reason = self._cancel_reason, None
        if reason is None or self._task.uncancel() > self._cancelling or kind is not asyncio.CancelledError:
            return
        try:
            raise reason
        finally:
            del reason  # breaks the reference cycle between the error and its traceback
