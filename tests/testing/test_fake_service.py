"""The fake that is ready-made: what a session can do with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rivya_async import GenerationFailedError, InsufficientCreditsError, NotFoundError, PollPolicy
from rivya_async.testing import FakeRequest, FakeService, FakeTransport

QUICK: dict[str, Any] = {"poll": PollPolicy(first=0.001, base=0.001, cap=0.01, floor=0.001)}


async def test_a_job_from_its_order_to_its_file(tmp_path: Path) -> None:
    fake = FakeTransport(FakeService(credits=10))
    async with fake.session(**QUICK) as session:
        seen = [each.status async for each in session.watch(await session.submit("z-image", "A red kite"))]
        job = await session.generate("z-image", "A red kite", check=True)
        (path,) = await session.download(job, tmp_path)
        assert (await session.credits.retrieve()).current_credits == 8
    assert seen[-2:] == ["processing", "succeeded"]
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("looks", [1, 2, 5])
async def test_a_job_ends_when_it_has_been_looked_at(looks: int) -> None:
    fake = FakeTransport(FakeService(looks=looks))
    async with fake.session(**QUICK) as session:
        await session.generate("kling-3-0", "A red kite")
    assert len([each for each in fake.requests if each.method == "GET"]) == looks


async def test_a_failed_job_gives_its_credits_back_once() -> None:
    service = FakeService(credits=10)
    async with FakeTransport(service).session(**QUICK) as session:
        with pytest.raises(GenerationFailedError) as raised:
            await session.generate("z-image", "[fail]")
        assert raised.value.task_id is not None
        await session.generations.retrieve(raised.value.task_id)
    assert service.credits == 10


async def test_what_is_refused() -> None:
    async with FakeTransport(FakeService(credits=0)).session(**QUICK) as session:
        with pytest.raises(InsufficientCreditsError):
            await session.submit("z-image", "A red kite")
        with pytest.raises(NotFoundError, match="no GET /api/v1/webhooks"):
            await session.webhooks.list()
        with pytest.raises(NotFoundError):
            await session.generations.retrieve("task_1")


async def test_without_the_renderers_a_link_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for module in [name for name in sys.modules if name.startswith(("PIL.", "rivya_async.sandbox.media."))]:
        monkeypatch.delitem(sys.modules, module)
    fake = FakeTransport(FakeService(looks=1))
    async with fake.session(**QUICK) as session:
        job = await session.generate("z-image", "A red kite")
    told = await fake.ask(FakeRequest("GET", job.urls[0]))
    assert told.status == 500
    assert b"rivya-async[sandbox]" in told.body
    told = await fake.ask(FakeRequest("GET", job.urls[0].replace("0.png", "1.png")))
    assert told.status == 404


async def test_the_key_of_what_was_refused_may_buy() -> None:
    service = FakeService(credits=0)
    async with FakeTransport(service).session(**QUICK) as session:
        with pytest.raises(InsufficientCreditsError):
            await session.submit("z-image", "A red kite", idempotency_key="order-1")
        service.credits = 1
        await session.submit("z-image", "A red kite", idempotency_key="order-1")


def test_a_job_is_never_ended_when_it_is_ordered() -> None:
    with pytest.raises(ValueError, match="looks"):
        FakeService(looks=0)
