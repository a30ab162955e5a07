from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from rivya_async.sandbox import Sandbox
from rivya_async.workers import RivyaWorker
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import OpenWorker, running_worker


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=500, credits=100) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def open_worker(request: pytest.FixtureRequest, sandbox: Sandbox) -> OpenWorker:
    """Opens a worker on this broker; several may share one queue."""
    redis: RedisServer | None = None if request.param == "memory" else request.getfixturevalue("shared_redis")
    return partial(running_worker, redis, sandbox)


@pytest_asyncio.fixture
async def worker(open_worker: OpenWorker) -> AsyncIterator[RivyaWorker]:
    async with open_worker() as running:
        yield running
