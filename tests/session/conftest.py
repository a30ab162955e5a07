from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from rivya_async import RivyaSession
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import FAST, RecordingHooks, open_session, open_sockets, use_fast_transport, wait_until


@pytest.fixture(autouse=True)
async def no_leaks(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Fails a test that leaves a task or a socket open. Hides the API key of the environment."""
    monkeypatch.delenv("RIVYA_API_KEY", raising=False)
    monkeypatch.delenv("RIVYA_BASE_URL", raising=False)
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    yield
    await wait_until(lambda: not asyncio.all_tasks() - tasks - {asyncio.current_task()}, seconds=2.0)
    if open_sockets() > sockets:
        gc.collect()
        await wait_until(lambda: open_sockets() <= sockets, seconds=15.0)  # a name server may respond late


@pytest.fixture(params=["aiohttp", "fast"])
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with each transport, and returns its name. Sessions with `http` or `transport` keep theirs."""
    if request.param == "fast":
        use_fast_transport(monkeypatch)
    return str(request.param)


@pytest.fixture
async def sandbox(no_leaks: None) -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=FAST) as running:
        yield running


@pytest.fixture
def hooks() -> RecordingHooks:
    return RecordingHooks()


@pytest.fixture
async def session(sandbox: Sandbox, hooks: RecordingHooks) -> AsyncIterator[RivyaSession]:
    async with open_session(sandbox, hooks=[hooks]) as session:
        yield session
