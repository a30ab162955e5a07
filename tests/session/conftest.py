from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from rivya_async import RivyaSession
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import FAST, Ears, open_sockets, opened, until


@pytest.fixture(autouse=True)
async def nothing_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """No test may leave a task or a socket behind, or learn of a key from the machine that it runs on."""
    monkeypatch.delenv("RIVYA_API_KEY", raising=False)
    monkeypatch.delenv("RIVYA_BASE_URL", raising=False)
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    yield
    await until(lambda: not asyncio.all_tasks() - tasks - {asyncio.current_task()}, seconds=2.0)
    if open_sockets() > sockets:
        gc.collect()
        await until(lambda: open_sockets() <= sockets, seconds=15.0)  # a name server may be slow to say no


@pytest.fixture
async def sandbox(nothing_left: None) -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=FAST) as running:
        yield running


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def session(sandbox: Sandbox, ears: Ears) -> AsyncIterator[RivyaSession]:
    async with opened(sandbox, hooks=[ears]) as session:
        yield session
