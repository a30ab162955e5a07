"""How long attempts may take: one timer looks after all that are on their way."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from types import TracebackType

LOOKS: Final = 20
"""Looks within the shortest time-out; one a second at least."""


class Outgoing(Protocol):
    """The writing half of a connection."""

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left yet."""
        ...


class Patience(NamedTuple):
    """Time-outs, counted in looks."""

    total: float
    read: float


ENDLESS: Final = Patience(math.inf, math.inf)
"""Of what keeps its own time, and need only be cut."""


class Watchdog:
    """Cuts the attempts that take too long. A look around now and then saves the timers of each request: 13 us.

    Time is counted in looks, so a time-out lasts up to a look longer, and a loop that stood still takes nothing from an
    attempt whose answer came meanwhile.
    """

    def __init__(self, shortest: float) -> None:
        self.in_flight: dict[object, Attempt] = {}
        """By the task that makes it."""
        self._loop = asyncio.get_running_loop()
        self._interval = min(1.0, shortest / LOOKS)
        self._next_look: asyncio.TimerHandle | None = None

    def patience(self, *, total: float, read: float = math.inf) -> Patience:
        """With what may take `total` seconds, and `read` until its answer begins and between two pieces of it."""
        return Patience(total / self._interval, read / self._interval)

    def sent(self, outgoing: Outgoing | None) -> None:
        """The attempt of this task is handed over to its connection: from now on an answer is awaited."""
        attempt = self.in_flight.get(asyncio.current_task())
        if attempt is not None:
            attempt.outgoing = outgoing
            attempt.heard()

    def cut_all(self) -> None:
        """End all that is on its way: whoever awaits it has been told that the session closes."""
        for attempt in self.in_flight.values():
            attempt.cut(ConnectionAbortedError("the session was closed"))

    def wake(self) -> None:
        """Look around while there is something in flight."""
        if self._next_look is None:
            self._next_look = self._loop.call_later(self._interval, self._look)

    def _look(self) -> None:
        self._next_look = None
        for attempt in self.in_flight.values():
            attempt.look()
        if self.in_flight:
            self.wake()


class Attempt:
    """A block of code that ends with `TimeoutError` when it takes too long, as under `asyncio.timeout`; or when cut."""

    __slots__ = ("_age", "_cancelling", "_cut_for", "_patience", "_silence", "_task", "_watchdog", "outgoing")

    def __init__(self, watchdog: Watchdog, patience: Patience) -> None:
        self._watchdog = watchdog
        self._patience = patience
        self._age = 0
        self._silence = -math.inf
        self._cut_for: OSError | None = None
        self.outgoing: Outgoing | None = None

    def heard(self) -> None:
        """There was a sign of life."""
        self._silence = 0

    def look(self) -> None:
        """Grow older; be cut when it is enough."""
        self._age += 1
        self._silence += 1
        if self.outgoing is not None and self.outgoing.get_write_buffer_size():
            self._silence = 0  # what has not left cannot be answered
        if self._age > self._patience.total or self._silence > self._patience.read:
            self.cut(TimeoutError())

    def cut(self, reason: OSError) -> None:
        """End with this error; the first reason counts."""
        if self._cut_for is None:
            self._cut_for = reason
            self._task.cancel()

    def __enter__(self) -> Attempt:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._watchdog.in_flight[self._task] = self
        self._watchdog.wake()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._watchdog.in_flight[self._task]
        reason, self._cut_for = self._cut_for, None
        if reason is None or self._task.uncancel() > self._cancelling or kind is not asyncio.CancelledError:
            return
        try:
            raise reason
        finally:
            del reason  # an error that its own traceback holds would wait for the garbage collector
