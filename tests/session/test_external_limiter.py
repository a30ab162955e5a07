"""Sessions with an `ExternalRateLimiter`, against the sandbox."""

from __future__ import annotations

import asyncio

import pytest

from rivya_async import ConfigurationError, ExternalRateLimiter, RivyaSession
from rivya_async.sandbox import Sandbox


async def test_requests_wait_for_grants(sandbox: Sandbox) -> None:
    all_wait = asyncio.Event()
    allowance = ExternalRateLimiter(lambda waiting: all_wait.set() if waiting == 5 else None)
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, rate_limit=allowance) as session:
        reads = [asyncio.create_task(session.credits.retrieve()) for _ in range(5)]
        await all_wait.wait()
        assert not any(read.done() for read in reads)
        allowance.grant(2)
        ends = asyncio.as_completed(reads)
        for end in (next(ends), next(ends)):
            await end
        assert sum(read.done() for read in reads) == 2
        allowance.grant(3)
        await asyncio.gather(*reads)
    assert allowance.available == 0


async def test_polls_wait_for_grants(sandbox: Sandbox) -> None:
    def grant(waiting: int) -> None:
        allowance.grant(waiting)

    allowance = ExternalRateLimiter(grant)
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, rate_limit=allowance) as session:
        job = await session.generate("z-image", "A kite")
    assert job.succeeded


async def test_limiter_belongs_to_one_session(sandbox: Sandbox) -> None:
    allowance = ExternalRateLimiter(lambda waiting: None)
    RivyaSession(sandbox.api_key, rate_limit=allowance)
    with pytest.raises(ConfigurationError, match="create one for each"):
        RivyaSession(sandbox.api_key, rate_limit=allowance)
