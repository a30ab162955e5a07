"""A session with `FakeService`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rivya_async import GenerationFailedError, InsufficientCreditsError, NotFoundError, PollPolicy
from rivya_async.testing import FakeRequest, FakeService, FakeTransport

QUICK: dict[str, Any] = {"poll": PollPolicy(first=0.001, base=0.001, cap=0.01, floor=0.001)}


async def test_generation_from_submit_to_download(tmp_path: Path) -> None:
    fake = FakeTransport(FakeService(credits=10))
    async with fake.session(**QUICK) as session:
        seen = [each.status async for each in session.watch(await session.submit("z-image", "A red kite"))]
        job = await session.generate("z-image", "A red kite", check=True)
        (path,) = await session.download(job, tmp_path)
        assert (await session.credits.retrieve()).current_credits == 8
    assert seen[-2:] == ["processing", "succeeded"]
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("polls", [1, 2, 5])
async def test_generation_ends_at_configured_poll(polls: int) -> None:
    fake = FakeTransport(FakeService(polls_until_done=polls))
    async with fake.session(**QUICK) as session:
        await session.generate("kling-3-0", "A red kite")
    assert len([each for each in fake.requests if each.method == "GET"]) == polls


async def test_failed_generation_returns_credits_once() -> None:
    service = FakeService(credits=10)
    async with FakeTransport(service).session(**QUICK) as session:
        with pytest.raises(GenerationFailedError) as raised:
            await session.generate("z-image", "[fail]")
        assert raised.value.task_id is not None
        await session.generations.retrieve(raised.value.task_id)
    assert service.credits == 10


async def test_rejections() -> None:
    async with FakeTransport(FakeService(credits=0)).session(**QUICK) as session:
        with pytest.raises(InsufficientCreditsError):
            await session.submit("z-image", "A red kite")
        with pytest.raises(NotFoundError, match="no GET /api/v1/webhooks"):
            await session.webhooks.list()
        with pytest.raises(NotFoundError):
            await session.generations.retrieve("task_1")


async def test_result_without_renderers_names_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for module in [name for name in sys.modules if name.startswith(("PIL.", "rivya_async.sandbox.media."))]:
        monkeypatch.delitem(sys.modules, module)
    fake = FakeTransport(FakeService(polls_until_done=1))
    async with fake.session(**QUICK) as session:
        job = await session.generate("z-image", "A red kite")
    response = await fake.handle(FakeRequest("GET", job.urls[0]))
    assert response.status == 500
    assert b"rivya-async[sandbox]" in response.body
    response = await fake.handle(FakeRequest("GET", job.urls[0].replace("0.png", "1.png")))
    assert response.status == 404


async def test_rejected_idempotency_key_can_be_reused() -> None:
    service = FakeService(credits=0)
    async with FakeTransport(service).session(**QUICK) as session:
        with pytest.raises(InsufficientCreditsError):
            await session.submit("z-image", "A red kite", idempotency_key="order-1")
        service.credits = 1
        await session.submit("z-image", "A red kite", idempotency_key="order-1")


def test_polls_until_done_must_be_positive() -> None:
    with pytest.raises(ValueError, match="polls_until_done"):
        FakeService(polls_until_done=0)
