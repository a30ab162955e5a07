"""A batch in a process of its own, which may end at any delay, or at a chosen one: `python crash_child.py JSON`."""

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
from rivya_async._engine.transfers.partial_file import PartialFile
from rivya_async._jobs import runner
from rivya_async.batch import Batch, Row, RowRecord
from rivya_async.batch.journal import Journal

POLL = PollPolicy(first=0.02, base=0.03, floor=0.02, cap=0.1, adaptive=False)
RETRY = RetryPolicy(max_attempts=20, base=0.01, cap=0.05)


def rows(count: int) -> list[Row]:
    return [Row(number=n, line=n, model="z-image", prompt=f"Kite {n}") for n in range(1, count + 1)]


def kill_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_before(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Wraps a call to kill the process before call number `count`."""
    numbers = itertools.count(1)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(numbers) == count:
            kill_process()
        return call(*args, **kwargs)

    return wrapped


def kill_after_call(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Wraps a call to kill the process after call number `count`."""
    numbers = itertools.count(1)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        if next(numbers) == count:
            kill_process()
        return result

    return wrapped


def kill_after_await(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Wraps an async call to kill the process after call number `count`."""
    numbers = itertools.count(1)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await call(*args, **kwargs)
        if next(numbers) == count:
            kill_process()
        return result

    return wrapped


def arm(point: str, session: RivyaSession, count: int) -> None:
    """Arranges for the process to be killed at this point."""
    target: Any = session
    worker_module: Any = runner
    match point:
        case "before the POST":
            target.submit = kill_before(session.submit, count)
        case "after the POST":
            target.submit = kill_after_await(session.submit, count)
        case "after the id":
            target.wait_for = kill_before(session.wait_for, count)
        case "after the end":
            target.download = kill_before(session.download, count)
        case "before the file is moved":
            worker_module.move_into_place = kill_before(worker_module.move_into_place, count)
        case "before the file is recorded":
            worker_module.move_into_place = kill_after_call(worker_module.move_into_place, count)


def raise_disk_full(part: PartialFile, chunk: bytes) -> None:
    """Raises the error of a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def kill_after_changes(count: int, delay: float) -> None:
    """Kills the process `delay` seconds after change number `count` of the journal."""
    update, numbers = Journal.update, itertools.count(1)

    def counted(*args: Any, **changes: Any) -> RowRecord:
        if next(numbers) == count:
            timer = threading.Timer(delay, kill_process)
            timer.daemon = True
            timer.start()
        return update(*args, **changes)

    target: Any = Journal
    target.update = counted


async def main(options: dict[str, Any]) -> None:
    if "kill_after" in options:
        kill_after_changes(*options["kill_after"])
    if options.get("full_files_disk"):
        PartialFile.write = raise_disk_full  # type: ignore[assignment, method-assign]
    async with Batch.open(options["journal"]) as batch:
        session = RivyaSession(
            options["key"],
            base_url=options["base_url"],
            poll=POLL,
            retry=RETRY,
            timeouts=Timeouts(connect=5.0, read=5.0, total=10.0),
        )
        async with session:
            arm(options.get("point", ""), session, options.get("count", 3))
            await batch.add(rows(options["rows"]))
            if options.get("full_journal_disk"):
                await batch._journal._writer.submit(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            out = Path(options["out"])
            async for _ in batch.run(session, max_in_flight=options.get("max_in_flight", 10), download_to=out):
                pass


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
