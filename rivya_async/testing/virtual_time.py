"""An event loop in virtual time: when nothing is ready and no I/O is pending, its clock advances to the next timer.

Sockets of this loop work: a server and its client can share it. Work in threads (`asyncio.to_thread`,
`run_in_executor`, name resolution) takes its real duration while the clock stands still. Other processes, other loops
and other threads are unknown to the loop: its clock does not wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar, TypeVarTuple

from .._core.public_module import set_public_module

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LIBRARY_FOLDERS: Final = (str(Path(__file__).parents[1]), str(Path(asyncio.__file__).parents[1]))
"""Folders of this package and of the standard library with its site-packages: not the lines of a test."""

START: Final = 1_000.0
"""Value of `loop.time()` at the start, in seconds. Not 0, which hides errors."""

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp() - START
"""Wall-clock time, in seconds since 1970, at which `loop.time()` is 0."""

LOOPBACK_DELAY: Final = 0.002
"""Real seconds within which bytes sent to a socket of the same loop arrive."""

CLOCK_RESOLUTION: Final = 1e-6
"""Virtual seconds by which a timer can be early. asyncio's nanosecond is below the float resolution after decades."""

THREAD_CHECK_INTERVAL: Final = 0.05
"""Real seconds between two checks for the end of work in threads."""

MAX_IDLE_ITERATIONS: Final = 50_000
"""Consecutive iterations of the loop without I/O and without a clock advance before `DeadlockError`."""


class DeadlockError(RuntimeError):
    """A program that cannot continue: all tasks wait without a timer or pending I/O, or they run in a busy loop.

    The message names the tasks with their source lines.

    >>> async def wait_forever():
    ...     await asyncio.Event().wait()
    >>> run(wait_forever())
    Traceback (most recent call last):
    ...
    rivya_async.testing.DeadlockError: all tasks wait without a timer or pending I/O: Task-... at ...
    """

    def __init__(self, problem: str) -> None:
        tasks = ", ".join(sorted(_describe_task(task) for task in asyncio.all_tasks()))
        super().__init__(f"{problem}: {tasks}")


def _describe_task(task: asyncio.Task[Any]) -> str:
    """Returns the name of the task and the line at which it waits: the innermost one outside of libraries, if any."""
    frames = [*_frames(task.get_coro())] or task.get_stack()
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith(LIBRARY_FOLDERS)]
    lines = [f" at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}" for frame in own or frames]
    return f"{task.get_name()}{''.join(lines[-1:])}"


def _frames(awaitable: Any) -> Iterator[FrameType]:
    """Yields the frames of a suspended coroutine and of those that it awaits, the outermost first."""
    while awaitable is not None:
        for prefix, link in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            if (frame := getattr(awaitable, f"{prefix}_frame", None)) is not None:
                yield frame
                awaitable = getattr(awaitable, f"{prefix}_{link}")
                break
        else:
            return


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` advances only to the next timer or by `advance`."""

    def __init__(self) -> None:
        self._clock = _VirtualClockSelector()
        super().__init__(self._clock)
        self._clock_resolution = CLOCK_RESOLUTION
        self._executor: ThreadPoolExecutor | None = None

    def time(self) -> float:
        """Returns the virtual time in seconds."""
        return self._clock.now

    def advance(self, seconds: float) -> None:
        """Advances the clock, as a callback does that blocks the loop for that time."""
        self._clock.now += seconds

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """See `asyncio.AbstractEventLoop`. The clock stands still until the loop receives the result."""
        if executor is None:
            executor = self._executor or ThreadPoolExecutor()
            self.set_default_executor(executor)
        work = executor.submit(func, *args)
        self._clock.busy.add(work)
        result = asyncio.wrap_future(work, loop=self)
        work.add_done_callback(self._clock.busy.discard)  # callbacks run in order: this one after the loop's wake-up
        return result

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]  # typeshed says object
        """See `asyncio.AbstractEventLoop`."""
        super().set_default_executor(executor)
        self._executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002 - since 3.12
        """See `asyncio.AbstractEventLoop`. Ignores `timeout`: virtual time does not pass during the shutdown."""
        self._clock.busy.add(self)
        try:
            await super().shutdown_default_executor()
        finally:
            self._clock.busy.discard(self)


class _VirtualClockSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.busy: set[object] = set()
        """Work in threads that has not ended."""
        self._idle_iterations = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self._idle_iterations = 0 if ready or self.busy else self._idle_iterations + 1
            if self._idle_iterations > MAX_IDLE_ITERATIONS:
                self._idle_iterations = 0
                raise DeadlockError(f"{MAX_IDLE_ITERATIONS} iterations of the event loop without I/O or a timer")
            return ready
        self._idle_iterations = 0
        while self.busy and not ready:
            ready = super().select(THREAD_CHECK_INTERVAL)
        has_sockets = len(self.get_map()) > 1  # one of them is the loop's own, for wake-ups by threads
        ready = ready or super().select(LOOPBACK_DELAY if has_sockets else 0)
        if ready:
            return ready
        if timeout is None:
            raise DeadlockError("all tasks wait without a timer or pending I/O")
        self.now += timeout
        return []


_last_wall_time = EPOCH + START


def wall_time() -> float:
    """Returns the wall-clock time of the latest virtual-time loop, in seconds since 1970.

    Use it as the clock of a sandbox: `Sandbox(clock=wall_time)`.

    >>> async def main():
    ...     async with Sandbox(speed=1, clock=wall_time) as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...             started_at = wall_time()
    ...             job = await session.generate("kling-3-0", "A red kite")
    ...             return job.status, wall_time() - started_at > 60
    >>> run(main())
    ('succeeded', True)
    """
    global _last_wall_time  # noqa: PLW0603 - one clock for all virtual-time loops, like `time.time`
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the variant that does not raise
    if isinstance(loop, VirtualTimeLoop):
        _last_wall_time = EPOCH + loop.time()
    return _last_wall_time


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in virtual time on its own loop, like `asyncio.run`. Raises `DeadlockError`.

    >>> async def sleep_ten_minutes():
    ...     started_at = asyncio.get_running_loop().time()
    ...     await asyncio.sleep(600)
    ...     return asyncio.get_running_loop().time() - started_at
    >>> run(sleep_ten_minutes())
    600.0
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


set_public_module("rivya_async.testing", DeadlockError, VirtualTimeLoop)
