"""`test_receiver.py` runs on virtual time; whatever needs a socket runs on the loop of this machine."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.engine.virtual_time import RecordingLoop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    return {"virtual": RecordingLoop} if item.path.name == "test_receiver.py" else {"real": asyncio.new_event_loop}


@pytest.fixture(scope="package", autouse=True)
def a_small_heap() -> Iterator[None]:
    """Every test collects garbage: spare it the modules and all that was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest_asyncio.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Fails a test that leaves a task, or makes its loop report an error."""
    reported: list[Mapping[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    before = asyncio.all_tasks()
    yield
    pause = 0.0 if isinstance(loop, RecordingLoop) else 0.01  # a server may take a moment to go
    for _ in range(100):
        await asyncio.sleep(pause)
        if not (left := asyncio.all_tasks() - before - {asyncio.current_task()}):
            break
    gc.collect()  # an exception that nobody retrieved is reported when its task dies
    assert not left, left
    assert not reported, reported
