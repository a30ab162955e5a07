"""Helpers for tests on the package's virtual-time loop, with a record of the errors reported to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from rivya_async.testing.virtual_time import START, VirtualTimeLoop

T = TypeVar("T")


class RecordingLoop(VirtualTimeLoop):
    """A virtual-time loop that records the errors reported to its exception handler."""

    def __init__(self) -> None:
        super().__init__()
        self.reported: list[Mapping[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.reported.append(context))

    @property
    def timers(self) -> int:
        """Number of armed timers."""
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return sum(not timer.cancelled() for timer in scheduled)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a new loop and asserts that it left no task and reported no error."""
    with asyncio.Runner(loop_factory=RecordingLoop) as runner:
        result = runner.run(main)
        loop = runner.get_loop()
        assert isinstance(loop, RecordingLoop)
        left = asyncio.all_tasks(loop)
    assert not left, left
    assert not loop.reported, loop.reported
    return result


def running_loop() -> RecordingLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, RecordingLoop)
    return loop


def now() -> float:
    """Returns the seconds since the loop was created."""
    return running_loop().time() - START


async def settle(iterations: int = 10) -> None:
    """Runs everything that is ready; the clock stands still."""
    for _ in range(iterations):
        await asyncio.sleep(0)
