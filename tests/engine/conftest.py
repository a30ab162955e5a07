"""Runs every async test in virtual time and fails it if it leaves a task or reports an error to the loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.engine.virtual_time import RecordingLoop, settle


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    return {"virtual": RecordingLoop}


@pytest.fixture(scope="package", autouse=True)
def frozen_heap() -> Iterator[None]:
    """Freezes the heap, so that the garbage collections after each test skip imported modules."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest_asyncio.fixture(autouse=True)
async def fail_on_leftovers() -> AsyncIterator[None]:
    """Fails a test that leaves a task or an error that it has not removed from `loop.reported`."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, RecordingLoop):  # a sync test runs its own loop, if any
        yield
        return
    before = asyncio.all_tasks()
    yield
    await settle()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect()  # reports the exceptions that were never retrieved
    assert not left, left
    assert not loop.reported, loop.reported
