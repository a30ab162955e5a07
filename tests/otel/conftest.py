from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from rivya_async import RivyaSession
from rivya_async.otel import Telemetry
from rivya_async.sandbox import Sandbox
from tests.otel.otel_kit import Backend
from tests.session.session_kit import FAST, open_session


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.close()


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    monkeypatch.delenv("RIVYA_API_KEY", raising=False)
    monkeypatch.delenv("RIVYA_BASE_URL", raising=False)
    async with Sandbox(speed=FAST) as running:
        yield running


@pytest.fixture
async def session(sandbox: Sandbox, backend: Backend) -> AsyncIterator[RivyaSession]:
    async with open_session(sandbox, hooks=[Telemetry(**backend.providers)]) as session:
        yield session
