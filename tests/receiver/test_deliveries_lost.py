"""Deliveries on their way, over real sockets: some are lost, some come for nobody; every job ends and is paid once."""

from __future__ import annotations

import asyncio

from rivya_async import GenerationRequest, PollPolicy
from tests.receiver.test_session_integration import told
from tests.session.session_kit import POLL, until

SOON = PollPolicy(first=0.3, base=0.2, cap=0.3, floor=0.1, adaptive=False)


async def test_jobs_end_when_half_of_the_deliveries_are_lost() -> None:
    async with asyncio.timeout(20), told(speed=50.0) as (sandbox, session, _):
        sandbox.faults.add(route="webhook delivery", nth=range(1, 1000, 2), drop=True)
        waits = (session.generate("z-image", f"Kite {number}", poll=SOON) for number in range(40))
        assert all(job.succeeded for job in await asyncio.gather(*waits))
        assert sandbox.received.count(POLL) > 0  # or by a delivery that was tried again
        assert sandbox.received.purchases == 40


async def test_map_needs_no_polls() -> None:
    requests = (GenerationRequest("z-image", f"Kite {number}") for number in range(60))
    async with asyncio.timeout(20), told() as (sandbox, session, _):
        assert [outcome.ok async for outcome in session.map(requests, max_in_flight=20)] == [True] * 60
        assert sandbox.received.count(POLL) == 0


async def test_event_releases_credits_of_unawaited_job() -> None:
    async with asyncio.timeout(10), told() as (sandbox, session, handler):
        job = await session.submit("z-image", "A job that ends badly [fail]")
        held = session.spend.total
        await until(lambda: len(handler.finished) == 1)
        assert (held, session.spend.total) == (job.reserved_credits, 0)
        assert (await session.wait_for(job.id, raise_on_failure=False)).failed
        assert sandbox.received.count(POLL) == 0
