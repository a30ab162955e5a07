"""One budget over many sessions: together they keep the account's rate, and what one is refused all of them hear."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from rivya_async import PollPolicy, RateLimit, RetryPolicy, RivyaSession
from rivya_async._engine.hooks import AttemptDetails
from rivya_async.sandbox import Sandbox
from rivya_async.workers.distributed_limiter import DistributedLimiter
from tests.workers.redis_server import RedisServer

QUEUES = itertools.count()
RETRY = RetryPolicy(max_attempts=50, max_elapsed=60.0, base=0.05, cap=1.0)


@asynccontextmanager
async def budget_at(
    redis: RedisServer, queue: str, limit: RateLimit | None = None
) -> AsyncIterator[DistributedLimiter]:
    budget = DistributedLimiter(redis.url, queue, limit)
    serving = asyncio.create_task(budget.serve())
    try:
        yield budget
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await budget.aclose()


@asynccontextmanager
async def session_on(budget: DistributedLimiter, sandbox: Sandbox) -> AsyncIterator[RivyaSession]:
    async with RivyaSession(
        sandbox.api_key,
        base_url=sandbox.base_url,
        rate_limit=budget.allowance,
        hooks=[budget],
        retry=RETRY,
        poll=PollPolicy(adaptive=False),
    ) as session:
        yield session


def queue() -> str:
    return f"budget-{next(QUEUES)}"


async def spend(session: RivyaSession, requests: int) -> float:
    """How long so many reads take, all begun at once."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(session.credits.retrieve() for _ in range(requests)))
    return loop.time() - began


async def test_unlimited_before_the_first_429(shared_redis: RedisServer) -> None:
    async with Sandbox() as sandbox, budget_at(shared_redis, queue()) as budget, session_on(budget, sandbox) as session:
        await spend(session, 300)
        assert math.isinf(budget.rate)


async def test_sessions_share_a_configured_rate(shared_redis: RedisServer) -> None:
    name, limit = queue(), RateLimit(100, burst=5)
    async with (
        Sandbox() as sandbox,
        budget_at(shared_redis, name, limit) as one,
        budget_at(shared_redis, name, limit) as two,
        session_on(one, sandbox) as first,
        session_on(two, sandbox) as second,
    ):
        elapsed = await asyncio.gather(spend(first, 50), spend(second, 50))
    assert max(elapsed) > 0.9 * (100 - 5) / 100, "alone, each would need half of that"


async def test_a_429_limits_all_sessions(shared_redis: RedisServer) -> None:
    name = queue()
    async with (
        Sandbox(rate_limit=40, rate_window=1.0) as sandbox,
        budget_at(shared_redis, name) as one,
        budget_at(shared_redis, name) as two,
        session_on(one, sandbox) as first,
        session_on(two, sandbox) as second,
    ):
        await spend(first, 60)
        assert sandbox.received.answered(429) > 0
        refused = sandbox.received.answered(429)
        await spend(second, 20)
        assert one.rate < 60
        assert two.rate < 60
        assert sandbox.received.answered(429) - refused <= 5, "the second knew before it was refused itself"


async def test_lease_serves_many_requests(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    grants: list[float] = []
    async with (
        Sandbox() as sandbox,
        budget_at(shared_redis, queue(), RateLimit(2000)) as budget,
        session_on(budget, sandbox) as session,
    ):
        grant = budget.allowance.grant

        def counted(requests: float) -> None:
            grants.append(requests)
            grant(requests)

        monkeypatch.setattr(budget.allowance, "grant", counted)
        await spend(session, 600)
    assert sum(grants) >= 600
    assert len(grants) < 60, "Redis is not asked for each request"


async def test_unused_lease_expires(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.distributed_limiter.KEPT", 0.05)
    async with (
        Sandbox() as sandbox,
        budget_at(shared_redis, queue(), RateLimit(1000)) as budget,
        session_on(budget, sandbox) as session,
    ):
        await spend(session, 120)
        budget.allowance.grant(10)
        await asyncio.sleep(0.2)
        budget._asked.set()
        await asyncio.sleep(0.2)
        assert budget.allowance.left < 10


async def test_without_redis_each_worker_keeps_its_share_and_warns_once(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.distributed_limiter.AWAY", 0.2)
    caplog.set_level(logging.WARNING, "rivya_async.workers")
    async with (
        Sandbox() as sandbox,
        budget_at(redis, queue(), RateLimit(100)) as budget,
        session_on(budget, sandbox) as session,
    ):
        budget.workers = 4
        await spend(session, 5)
        redis.stop()
        elapsed = await spend(session, 30)
        assert elapsed > 0.8 * 30 / 25 - 0.3, "a quarter of 100 per second"
        redis.start()
        await spend(session, 30)
    said = [record.message for record in caplog.records if record.name == "rivya_async.workers"]
    assert len(said) == 2
    assert "keeps to its share, 25 requests/s" in said[0]
    assert "can be reached again" in said[1]


async def test_silent_redis_counts_as_down(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.distributed_limiter.SLOW", 0.2)
    async with (
        Sandbox() as sandbox,
        budget_at(redis, queue(), RateLimit(400)) as budget,
        session_on(budget, sandbox) as session,
    ):
        await spend(session, 5)
        redis.freeze()
        assert await spend(session, 100) < 5.0


async def test_429s_in_flight_count_once(shared_redis: RedisServer) -> None:
    from rivya_async import RateLimited

    async with Sandbox() as sandbox, budget_at(shared_redis, queue()) as budget, session_on(budget, sandbox) as session:
        await spend(session, 100)
        error_from_record = AttemptDetails("GET", "/", 1, 0.1, None, RateLimited("slow down", retry_after=0.2))
        budget.on_attempt(error_from_record)
        await asyncio.sleep(0.05)
        learned = budget.rate
        budget.on_attempt(error_from_record)
        await asyncio.sleep(0.3)
        await spend(session, 1)
        assert budget.rate == pytest.approx(learned, rel=0.2)
        assert math.isfinite(learned)
