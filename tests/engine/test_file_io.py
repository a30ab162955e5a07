"""Calls in threads whose end a cancellation waits for."""

from __future__ import annotations

import asyncio
import threading

from rivya_async._engine.transfers.file_io import run_in_thread_uncancellable
from tests.engine.engine_kit import error_from


async def test_two_cancellations_wait_for_the_end_of_a_write() -> None:
    started, may_end, written = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def write() -> None:
        loop.call_soon_threadsafe(started.set)
        may_end.wait()
        written.append("row")

    writing = asyncio.create_task(run_in_thread_uncancellable(write))
    await started.wait()
    for _ in range(3):
        writing.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not writing.done()
    may_end.set()
    assert isinstance(await error_from(writing), asyncio.CancelledError)
    assert written == ["row"]
