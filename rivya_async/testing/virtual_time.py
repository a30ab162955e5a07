"""An event loop on which nobody waits: when nothing is ready and nothing is on its way, its clock leaps.

Sockets of this very loop are served as they come: a server and its client may live on it together. Work in threads
(`asyncio.to_thread`, `run_in_executor`, name resolution) takes its real time, in which the clock stands still. What
another process, another loop or a thread that was started in another way does is not known here: the clock leaps over
it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START: Final = 1_000.0
"""What `loop.time()` says first: not 0, which hides mistakes."""

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp() - START

GRACE: Final = 0.002
"""Real seconds in which a byte that was sent to this very loop has arrived for certain."""

RESOLUTION: Final = 1e-6
"""Virtual seconds by which a timer may be early. The real clock's nanosecond is nothing beside a year."""

LOOK: Final = 0.05
"""Real seconds between two looks at whether the threads are done."""


class Stuck(RuntimeError):
    """Every task waits for another, no timer is set, and nothing is on its way: this would wait for ever.

    It names them, and where they wait.

    >>> async def nobody_comes():
    ...     await asyncio.Event().wait()
    >>> run(nobody_comes())
    Traceback (most recent call last):
    ...
    rivya_async.testing.virtual_time.Stuck: all tasks wait for each other, ... is on its way: Task-... at ...
    """

    def __init__(self) -> None:
        places = ", ".join(sorted(_place(task) for task in asyncio.all_tasks()))
        super().__init__(f"all tasks wait for each other, no timer is set and nothing is on its way: {places}")


def _place(task: asyncio.Task[Any]) -> str:
    lines = [f" at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}" for frame in task.get_stack()]
    return f"{task.get_name()}{''.join(lines[-1:])}"


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` moves by leaps only."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)
        self._clock_resolution = RESOLUTION
        self.set_default_executor(ThreadPoolExecutor())

    def time(self) -> float:
        """Virtual seconds."""
        return self._leaping.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """See `asyncio.AbstractEventLoop`. The clock stands still until the loop has heard of its end."""
        work = (executor or self._threads).submit(func, *args)
        self._leaping.busy.add(work)
        heard = asyncio.wrap_future(work, loop=self)
        work.add_done_callback(self._leaping.busy.discard)  # after what wakes the loop: they are called in order
        return heard

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]  # typeshed says object
        """See `asyncio.AbstractEventLoop`."""
        super().set_default_executor(executor)
        self._threads = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002 - since 3.12
        """See `asyncio.AbstractEventLoop`. It has all the time that it takes: `timeout` is not looked at."""
        self._leaping.busy.add(self)
        try:
            await super().shutdown_default_executor()
        finally:
            self._leaping.busy.discard(self)


class _LeapingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.busy: set[object] = set()
        """What threads work on."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        while self.busy and not ready:
            ready = super().select(LOOK)
        has_sockets = len(self.get_map()) > 1  # the first is how threads wake the loop
        ready = ready or super().select(GRACE if has_sockets else 0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck
        self.now += timeout
        return []


_last_wall = EPOCH + START


def wall() -> float:
    """The wall clock of the virtual loop that runs, or ran last: seconds since 1970, for a `Sandbox(clock=wall)`.

    >>> async def a_video():
    ...     async with Sandbox(speed=1, clock=wall) as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...             began = wall()
    ...             job = await session.generate("kling-3-0", "A red kite")
    ...             return job.status, wall() - began > 60
    >>> run(a_video())
    ('succeeded', True)
    """
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
