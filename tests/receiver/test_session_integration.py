"""A receiver that was given a session: events end its waits, over real sockets, and its handlers run all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from rivya_async import PollPolicy, RivyaSession
from rivya_async.receiver import WebhookReceiver
from rivya_async.sandbox import Sandbox
from tests.receiver.receiver_kit import RecordingHandler
from tests.receiver.test_servers import aiohttp_at
from tests.session.session_kit import POLL, opened, until

RARELY = PollPolicy(first=60.0, base=60.0, cap=60.0, adaptive=False)
"""Who gets an answer within the test got it from an event."""


@asynccontextmanager
async def told(speed: float = 100.0) -> AsyncIterator[tuple[Sandbox, RivyaSession, RecordingHandler]]:
    """A sandbox that tells a receiver, which tells a session that hardly ever polls."""
    hooks: list[WebhookReceiver] = []

    async def take(request: web.Request) -> web.Response:
        answer = await hooks[0].receive(await request.read(), request.headers)
        return web.Response(status=answer.status, text=answer.text)

    app = web.Application()
    app.router.add_post("/hooks", take)
    async with (
        Sandbox(speed=speed, allow_local_webhooks=True) as sandbox,
        aiohttp_at(app) as url,
        opened(sandbox, poll=RARELY) as session,
    ):
        made = await session.webhooks.create("Mine", f"{url}/hooks", ["generation.succeeded", "generation.failed"])
        async with WebhookReceiver(made.signing_secret or "", session=session) as receiver:
            handler = RecordingHandler()
            receiver.on("*", handler)
            hooks.append(receiver)
            yield sandbox, session, handler


async def test_events_end_every_kind_of_wait() -> None:
    async with asyncio.timeout(10), told() as (sandbox, session, handler):
        job = await session.submit("z-image", "A red kite")
        waits = [
            session.wait_for(job),
            session.generate("z-image", "A blue whale"),
            session.wait_for(await session.submit("z-image", "[fail]"), raise_on_failure=False),
        ]
        ends = await asyncio.gather(*waits)
        assert [end.status for end in ends] == ["succeeded", "succeeded", "failed"]
        assert {end.id async for end in session.as_completed(ends)} == {end.id for end in ends}
        assert sandbox.received.count(POLL) == 0
        assert len(handler.started) == 3


async def test_duplicates_and_lost_responses_change_nothing() -> None:
    async with asyncio.timeout(10), told() as (sandbox, session, handler):
        sandbox.faults.add(route="webhook delivery", nth=[1, 2], drop=True, act=True)
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {number}") for number in range(4)))
        assert all(job.succeeded for job in jobs)
        assert sandbox.received.count(POLL) == 0
    assert len(handler.finished) == len(set(handler.finished)) == 4


async def test_receiver_outlives_its_session(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(10), told(speed=20.0) as (_, session, handler):
        await session.submit("z-image", "A red kite")
        await session.aclose()
        await until(lambda: len(handler.finished) == 1)
    assert "were not ended by event 'evt_" in caplog.text


def test_created_without_an_event_loop() -> None:
    WebhookReceiver("whsec_1", session=RivyaSession("rvya_sk_1"))


def test_rejects_other_objects_as_session() -> None:
    with pytest.raises(AttributeError, match="generations"):
        WebhookReceiver("whsec_1", session=object())  # type: ignore[arg-type]
