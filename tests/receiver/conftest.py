"""The event loop of each file: virtual time without sockets, else the real loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.engine.virtual_time import RecordingLoop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    is_virtual = item.path.name in {"test_receiver.py", "test_receiver_lifecycle.py"}
    return {"virtual": RecordingLoop} if is_virtual else {"real": asyncio.new_event_loop}


@pytest.fixture(scope="package", autouse=True)
def frozen_heap() -> Iterator[None]:
    """Excludes loaded modules from the garbage collection that each test runs."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest_asyncio.fixture(autouse=True)
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Fails a test that leaves a task, or whose loop reports an error."""
    reported: list[Mapping[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    before = asyncio.all_tasks()
    yield
    pause = 0.0 if isinstance(loop, RecordingLoop) else 0.01  # servers need a moment to close
    for _ in range(100):
        await asyncio.sleep(pause)
        if not (left := asyncio.all_tasks() - before - {asyncio.current_task()}):
            break
    gc.collect()  # reports unretrieved exceptions of tasks
    assert not left, left
    assert not reported, reported
