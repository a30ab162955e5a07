"""A batch in a process of its own, which may end at any moment, or at a chosen one: `python crash_child.py JSON`."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rivya_async import PollPolicy, RetryPolicy, RivyaSession, Timeouts
from rivya_async._engine.part import Part
from rivya_async._jobs import runner
from rivya_async.batch import Batch, Row, RowRecord
from rivya_async.batch.journal import Journal

POLL = PollPolicy(first=0.02, base=0.03, floor=0.02, cap=0.1, adaptive=False)
RETRY = RetryPolicy(max_attempts=20, base=0.01, cap=0.05)


def rows(count: int) -> list[Row]:
    return [Row(number=n, line=n, model="z-image", prompt=f"Kite {n}") for n in range(1, count + 1)]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The same call, but that the process is killed before the so-manieth."""
    numbers = itertools.count(1)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(numbers) == count:
            die()
        return call(*args, **kwargs)

    return wrapped


def dying_then(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The same call, but that the process is killed when the so-manieth has been made."""
    numbers = itertools.count(1)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        if next(numbers) == count:
            die()
        return result

    return wrapped


def dying_after(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The same call, but that the process is killed when the so-manieth has returned."""
    numbers = itertools.count(1)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await call(*args, **kwargs)
        if next(numbers) == count:
            die()
        return result

    return wrapped


def arm(point: str, session: RivyaSession, count: int) -> None:
    """Let the process die at this point."""
    target: Any = session
    saving: Any = runner
    match point:
        case "before the POST":
            target.submit = dying(session.submit, count)
        case "after the POST":
            target.submit = dying_after(session.submit, count)
        case "after the id":
            target.wait_for = dying(session.wait_for, count)
        case "after the end":
            target.download = dying(session.download, count)
        case "before the file has its place":
            saving.placed = dying(saving.placed, count)
        case "before the file is noted":
            saving.placed = dying_then(saving.placed, count)


def no_room(part: Part, chunk: bytes) -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die_soon_after(count: int, delay: float) -> None:
    """Let the process die so many seconds after the so-manieth change of the journal, wherever it is then."""
    note, numbers = Journal.note, itertools.count(1)

    def counted(*args: Any, **changes: Any) -> RowRecord:
        if next(numbers) == count:
            timer = threading.Timer(delay, die)
            timer.daemon = True
            timer.start()
        return note(*args, **changes)

    target: Any = Journal
    target.note = counted


async def main(order: dict[str, Any]) -> None:
    if "dies" in order:
        die_soon_after(*order["dies"])
    if order.get("no_room_for_files"):
        Part.write = no_room  # type: ignore[assignment, method-assign]
    async with Batch.open(order["journal"]) as batch:
        session = RivyaSession(
            order["key"],
            base_url=order["base_url"],
            poll=POLL,
            retry=RETRY,
            timeouts=Timeouts(connect=5.0, read=5.0, total=10.0),
        )
        async with session:
            arm(order.get("point", ""), session, order.get("count", 3))
            await batch.add(rows(order["rows"]))
            if order.get("no_room_for_the_journal"):
                await batch._journal._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            out = Path(order["out"])
            async for _ in batch.run(session, max_in_flight=order.get("max_in_flight", 10), download_to=out):
                pass


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
