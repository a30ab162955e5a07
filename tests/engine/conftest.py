"""Every async test of this folder runs on virtual time, leaves no task behind and reports nothing to the loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.engine.virtual_time import VirtualTimeLoop, settle


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(scope="package", autouse=True)
def a_small_heap() -> Iterator[None]:
    """Every test collects garbage: spare it the modules and all that was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest_asyncio.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Fails a test that leaves a task, or makes the loop report an error that the test did not take off the list."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):  # a test that is no coroutine has a loop of its own, if any
        yield
        return
    before = asyncio.all_tasks()
    yield
    await settle()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect()  # an exception that nobody retrieved is reported when its task dies
    assert not left, left
    assert not loop.reported, loop.reported
