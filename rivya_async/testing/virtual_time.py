"""An event loop on which nobody waits: when nothing is ready and nothing is on its way, its clock leaps.

Sockets of this very loop are served as they come: a server and its client may live on it together. Work in threads
(`asyncio.to_thread`, name resolution) takes its real time, in which the clock stands still. What another process or
another loop does is not known here: the clock leaps over it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

T = TypeVar("T")

START: Final = 1_000.0
"""What `loop.time()` says first: not 0, which hides mistakes."""

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp() - START

GRACE: Final = 0.002
"""Real seconds in which a byte that was sent to this very loop has arrived for certain."""

LOOK: Final = 0.05
"""Real seconds between two looks at whether the threads are done."""


class Stuck(RuntimeError):
    """Every task waits for another, no timer is set, and nothing is on its way: this would wait for ever."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` moves by leaps only."""

    def __init__(self) -> None:
        threads = _Threads()
        self._leaping = _LeapingSelector(threads)
        super().__init__(self._leaping)
        self.set_default_executor(threads)

    def time(self) -> float:
        """Virtual seconds."""
        return self._leaping.now


class _Threads(ThreadPoolExecutor):
    """Knows what is still being worked on."""

    def __init__(self) -> None:
        super().__init__()
        self.busy: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `concurrent.futures.Executor`."""
        future = super().submit(fn, *args, **kwargs)
        self.busy.add(future)
        future.add_done_callback(self.busy.discard)
        return future


class _LeapingSelector(selectors.DefaultSelector):
    def __init__(self, threads: _Threads) -> None:
        super().__init__()
        self.now = START
        self._threads = threads

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        while self._threads.busy and not ready:
            ready = super().select(LOOK)
        ready = ready or super().select(GRACE)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("all tasks wait for each other, no timer is set and nothing is on its way")
        self.now += timeout
        return []


_last_wall = EPOCH + START


def wall() -> float:
    """The wall clock of the virtual loop that runs, or ran last: seconds since 1970, for a `Sandbox(clock=wall)`."""
    global _last_wall  # noqa: PLW0603 - the one clock of all virtual loops, as the real wall clock is one
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the one that does not raise
    if isinstance(loop, VirtualTimeLoop):
        _last_wall = EPOCH + loop.time()
    return _last_wall


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end in virtual time, on a loop of its own, as `asyncio.run` would.

    Raises `Stuck` where it would wait for ever.

    >>> async def ten_minutes():
    ...     began = asyncio.get_running_loop().time()
    ...     await asyncio.sleep(600)
    ...     return asyncio.get_running_loop().time() - began
    >>> run(ten_minutes())
    600.0
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
