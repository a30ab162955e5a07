"""An event loop on which nobody waits: when nothing is ready, its clock leaps to the next timer.

There is no real I/O on it. What would wait for ever is a `Deadlock`, what would spin for ever a `Livelock`: both come
out of the call that runs the loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

START: Final = 1_000.0
"""What `loop.time()` says first: not 0, which hides mistakes."""

MANY_TURNS: Final = 50_000
"""More turns of the loop than this without a tick of the clock are taken for a circle."""


class Deadlock(RuntimeError):
    """Nothing is ready, nothing is scheduled, and the loop was asked to go on."""


class Livelock(RuntimeError):
    """The loop turns and turns, and its clock stands still."""


class _LeapingSelector(selectors.DefaultSelector):
    """Looks at the sockets without waiting; what it would have waited is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock(f"at {self.now:g} all tasks wait for each other, and no timer is set")
        self.turns = self.turns + 1 if timeout <= 0 else 0
        if self.turns > MANY_TURNS:
            self.turns = 0
            raise Livelock(f"{MANY_TURNS} turns of the loop at {self.now:g}")
        self.now += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` moves only by leaps to the next timer, and by `stall`."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        self.reported: list[Mapping[str, Any]] = []
        super().__init__(self._leaping)
        self.set_exception_handler(lambda _, context: self.reported.append(context))

    def time(self) -> float:
        return self._leaping.now

    def stall(self, seconds: float) -> None:
        """Let time pass as if a callback had blocked the loop for so long."""
        self._leaping.now += seconds

    @property
    def timers(self) -> int:
        """How many timers are armed."""
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return sum(not timer.cancelled() for timer in scheduled)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end on a new loop, and see that it left no task and reported nothing."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(main)
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        left = asyncio.all_tasks(loop)
    assert not left, left
    assert not loop.reported, loop.reported
    return result


def running_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def now() -> float:
    """Seconds since the loop was made."""
    return running_loop().time() - START


async def settle(turns: int = 10) -> None:
    """Let everything that is ready run; time stands still."""
    for _ in range(turns):
        await asyncio.sleep(0)
