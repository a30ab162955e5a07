"""A receiver with a session, over real sockets: events end waits, and jobs end despite lost deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from rivya_async import GenerationRequest, PollPolicy, RivyaSession
from rivya_async.receiver import WebhookReceiver
from rivya_async.sandbox import Sandbox
from tests.receiver.receiver_kit import RecordingHandler
from tests.receiver.test_servers import aiohttp_at
from tests.session.session_kit import POLL, open_session, wait_until

RARE_POLLS = PollPolicy(first=60.0, base=60.0, cap=60.0, adaptive=False)
"""Polls so rare that a wait which ends during a test was ended by an event."""

FAST_POLLS = PollPolicy(first=0.3, base=0.2, cap=0.3, floor=0.1, adaptive=False)


@asynccontextmanager
async def webhook_setup(speed: float = 100.0) -> AsyncIterator[tuple[Sandbox, RivyaSession, RecordingHandler]]:
    """A sandbox that delivers to a receiver, with a session that hardly polls."""
    receivers: list[WebhookReceiver] = []

    async def receive(request: web.Request) -> web.Response:
        response = await receivers[0].receive(await request.read(), request.headers)
        return web.Response(status=response.status, text=response.text)

    app = web.Application()
    app.router.add_post("/hooks", receive)
    async with (
        Sandbox(speed=speed, allow_local_webhooks=True) as sandbox,
        aiohttp_at(app) as url,
        open_session(sandbox, poll=RARE_POLLS) as session,
    ):
        endpoint = await session.webhooks.create("Mine", f"{url}/hooks", ["generation.succeeded", "generation.failed"])
        async with WebhookReceiver(endpoint.signing_secret or "", session=session) as receiver:
            handler = RecordingHandler()
            receiver.on("*", handler)
            receivers.append(receiver)
            yield sandbox, session, handler


async def test_events_end_every_kind_of_wait() -> None:
    async with asyncio.timeout(10), webhook_setup() as (sandbox, session, handler):
        job = await session.submit("z-image", "A red kite")
        waits = [
            session.wait_for(job),
            session.generate("z-image", "A blue whale"),
            session.wait_for(await session.submit("z-image", "[fail]"), raise_on_failure=False),
        ]
        ends = await asyncio.gather(*waits)
        assert [end.status for end in ends] == ["succeeded", "succeeded", "failed"]
        assert {end.id async for end in session.as_completed(ends)} == {end.id for end in ends}
        assert sandbox.request_log.count(POLL) == 0
        assert len(handler.started) == 3


async def test_duplicates_and_lost_responses_change_nothing() -> None:
    async with asyncio.timeout(10), webhook_setup() as (sandbox, session, handler):
        sandbox.faults.add(route="webhook delivery", nth=[1, 2], drop=True, act=True)
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {number}") for number in range(4)))
        assert all(job.succeeded for job in jobs)
        assert sandbox.request_log.count(POLL) == 0
    assert len(handler.finished) == len(set(handler.finished)) == 4


async def test_receiver_outlives_its_session(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(10), webhook_setup(speed=20.0) as (_, session, handler):
        await session.submit("z-image", "A red kite")
        await session.aclose()
        await wait_until(lambda: len(handler.finished) == 1)
    assert "were not ended by event 'evt_" in caplog.text


def test_created_without_an_event_loop() -> None:
    WebhookReceiver("whsec_1", session=RivyaSession("rvya_sk_1"))


def test_rejects_other_objects_as_session() -> None:
    with pytest.raises(AttributeError, match="generations"):
        WebhookReceiver("whsec_1", session=object())  # type: ignore[arg-type]


# --- lost deliveries --------------------------------------------------------------------------------------------------


async def test_jobs_end_when_half_of_the_deliveries_are_lost() -> None:
    async with asyncio.timeout(20), webhook_setup(speed=50.0) as (sandbox, session, _):
        sandbox.faults.add(route="webhook delivery", nth=range(1, 1000, 2), drop=True)
        waits = (session.generate("z-image", f"Kite {number}", poll=FAST_POLLS) for number in range(40))
        assert all(job.succeeded for job in await asyncio.gather(*waits))
        assert sandbox.request_log.count(POLL) > 0
        assert sandbox.request_log.purchases == 40


async def test_map_needs_no_polls() -> None:
    requests = (GenerationRequest("z-image", f"Kite {number}") for number in range(60))
    async with asyncio.timeout(20), webhook_setup() as (sandbox, session, _):
        assert [outcome.ok async for outcome in session.map(requests, max_in_flight=20)] == [True] * 60
        assert sandbox.request_log.count(POLL) == 0


async def test_event_releases_credits_of_unawaited_job() -> None:
    async with asyncio.timeout(10), webhook_setup() as (sandbox, session, handler):
        job = await session.submit("z-image", "A job that ends badly [fail]")
        reserved = session.spend.total
        await wait_until(lambda: len(handler.finished) == 1)
        assert (reserved, session.spend.total) == (job.reserved_credits, 0)
        assert (await session.wait_for(job.id, raise_on_failure=False)).failed
        assert sandbox.request_log.count(POLL) == 0
