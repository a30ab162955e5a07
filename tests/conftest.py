"""Fixtures shared by several test packages."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hypothesis import settings

from rivya_async.sandbox import Sandbox
from tests.chromium import Chromium, chromium
from tests.workers.redis_server import RedisServer, require_redis

settings.register_profile("default", deadline=None)  # on a busy machine, an example may take any time
settings.load_profile("default")

assert Sandbox.__init__.__kwdefaults__ is not None
Sandbox.__init__.__kwdefaults__["seed"] = 0
"""Durations, failures and ids of the sandboxes of all tests repeat, unless a test passes `seed=None`."""


@pytest.fixture(autouse=True)
def restore_logger() -> Iterator[None]:
    """Restores the library's logger, which commands that run in this process configure."""
    logger = logging.getLogger("rivya_async")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    logger.handlers = []
    yield
    logger.handlers, logger.level, logger.propagate = handlers, level, propagate


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    """Yields one browser for all tests of a module."""
    async with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Yields one Redis server for all tests of a module; each test uses a separate queue."""
    require_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Yields a Redis server that the test can stop."""
    require_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
