"""One rate limit for many sessions: together they keep the account's rate, and share the lessons of a 429."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from rivya_async import PollPolicy, RateLimit, RateLimitError, RetryPolicy, RivyaSession
from rivya_async._engine.hooks import AttemptDetails
from rivya_async.sandbox import Sandbox
from rivya_async.workers.distributed_limiter import DistributedLimiter
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import wait_until

QUEUE_NUMBERS = itertools.count()
RETRY = RetryPolicy(max_attempts=50, max_elapsed=60.0, base=0.05, cap=1.0)


@asynccontextmanager
async def running_limiter(
    redis: RedisServer, queue: str, limit: RateLimit | None = None
) -> AsyncIterator[DistributedLimiter]:
    limiter = DistributedLimiter(redis.url, queue, limit)
    serving = asyncio.create_task(limiter.run())
    try:
        yield limiter
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await limiter.aclose()


@asynccontextmanager
async def limited_session(limiter: DistributedLimiter, sandbox: Sandbox) -> AsyncIterator[RivyaSession]:
    async with RivyaSession(
        sandbox.api_key,
        base_url=sandbox.base_url,
        rate_limit=limiter.allowance,
        hooks=[limiter],
        retry=RETRY,
        poll=PollPolicy(adaptive=False),
    ) as session:
        yield session


def new_queue() -> str:
    return f"limiter-{next(QUEUE_NUMBERS)}"


async def send_requests(session: RivyaSession, requests: int) -> float:
    """Sends concurrent requests and returns the seconds until the last response."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(session.credits.retrieve() for _ in range(requests)))
    return loop.time() - started


async def test_unlimited_before_the_first_429(shared_redis: RedisServer) -> None:
    async with (
        Sandbox() as sandbox,
        running_limiter(shared_redis, new_queue()) as limiter,
        limited_session(limiter, sandbox) as session,
    ):
        await send_requests(session, 300)
        assert math.isinf(limiter.rate)


async def test_sessions_share_a_configured_rate(shared_redis: RedisServer) -> None:
    name, limit = new_queue(), RateLimit(100, burst=5)
    async with (
        Sandbox() as sandbox,
        running_limiter(shared_redis, name, limit) as first_limiter,
        running_limiter(shared_redis, name, limit) as second_limiter,
        limited_session(first_limiter, sandbox) as first,
        limited_session(second_limiter, sandbox) as second,
    ):
        elapsed = await asyncio.gather(send_requests(first, 50), send_requests(second, 50))
    assert max(elapsed) > 0.9 * (100 - 5) / 100, "separate limiters would need half of that"


async def test_a_429_limits_all_sessions(shared_redis: RedisServer) -> None:
    name = new_queue()
    async with (
        Sandbox(rate_limit=40, rate_window=1.0) as sandbox,
        running_limiter(shared_redis, name) as first_limiter,
        running_limiter(shared_redis, name) as second_limiter,
        limited_session(first_limiter, sandbox) as first,
        limited_session(second_limiter, sandbox) as second,
    ):
        await send_requests(first, 60)
        assert sandbox.request_log.count_status(429) > 0
        rejections = sandbox.request_log.count_status(429)
        await send_requests(second, 20)
        assert first_limiter.rate < 60
        assert second_limiter.rate < 60
        assert sandbox.request_log.count_status(429) - rejections <= 5, "the second session knows the rate already"


async def test_lease_serves_many_requests(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    grants: list[float] = []
    async with (
        Sandbox() as sandbox,
        running_limiter(shared_redis, new_queue(), RateLimit(2000)) as limiter,
        limited_session(limiter, sandbox) as session,
    ):
        grant = limiter.allowance.grant

        def recording_grant(requests: float) -> None:
            grants.append(requests)
            grant(requests)

        monkeypatch.setattr(limiter.allowance, "grant", recording_grant)
        await send_requests(session, 600)
    assert sum(grants) >= 600
    assert len(grants) < 60, "one lease serves many requests"


async def test_unused_lease_expires(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.distributed_limiter.LEASE_TTL", 0.05)
    async with (
        Sandbox() as sandbox,
        running_limiter(shared_redis, new_queue(), RateLimit(1000)) as limiter,
        limited_session(limiter, sandbox) as session,
    ):
        await send_requests(session, 120)
        limiter.allowance.grant(10)
        await asyncio.sleep(0.2)
        limiter._demand.set()
        await asyncio.sleep(0.2)
        assert limiter.allowance.available < 10


async def test_without_redis_each_worker_keeps_its_share_and_warns_once(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.distributed_limiter.REDIS_RETRY_INTERVAL", 0.2)
    caplog.set_level(logging.WARNING, "rivya_async.workers")
    async with (
        Sandbox() as sandbox,
        running_limiter(redis, new_queue(), RateLimit(100)) as limiter,
        limited_session(limiter, sandbox) as session,
    ):
        limiter.workers = 4
        await send_requests(session, 5)
        redis.stop()
        elapsed = await send_requests(session, 30)
        assert elapsed > 0.8 * 30 / 25 - 0.3, "a quarter of 100 per second"
        redis.start()
        await send_requests(session, 30)
    warnings = [record.message for record in caplog.records if record.name == "rivya_async.workers"]
    assert len(warnings) == 2
    assert "keeps to its share, 25 requests/s" in warnings[0]
    assert "uses Redis again" in warnings[1]


async def test_silent_redis_counts_as_down(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.distributed_limiter.REDIS_TIMEOUT", 0.2)
    async with (
        Sandbox() as sandbox,
        running_limiter(redis, new_queue(), RateLimit(400)) as limiter,
        limited_session(limiter, sandbox) as session,
    ):
        await send_requests(session, 5)
        redis.freeze()
        assert await send_requests(session, 100) < 5.0


async def test_429s_in_flight_count_once(shared_redis: RedisServer) -> None:
    async with (
        Sandbox() as sandbox,
        running_limiter(shared_redis, new_queue()) as limiter,
        limited_session(limiter, sandbox) as session,
    ):
        await send_requests(session, 100)
        rejection = AttemptDetails("GET", "/", 1, 0.1, None, RateLimitError("slow down", retry_after=0.2))
        limiter.on_attempt(rejection)
        await wait_until(lambda: math.isfinite(limiter.rate), interval=0.01)
        learned = limiter.rate
        limiter.on_attempt(rejection)
        await asyncio.sleep(0.3)
        await send_requests(session, 1)
        assert limiter.rate == pytest.approx(learned, rel=0.2)
