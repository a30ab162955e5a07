"""Whoever cancels a call of the store is heard, at whatever moment: no cancellation is swallowed on the way."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from rivya_async.workers import JobState, RedisStore
from tests.workers.redis_server import RedisServer


async def test_a_cancelled_call_ends_as_cancelled_at_every_moment(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, namespace="cancel")
    await store.open()
    try:
        for steps in itertools.count():
            calling = asyncio.create_task(store.advance(f"kite-{steps}", {None}, JobState.PLANNED))
            for _ in range(steps):
                await asyncio.sleep(0)
            if calling.done():
                break
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(calling, 5)
        assert steps > 3, "it was cancelled at several moments"
        assert await store.read(["no-such-kite"]) == [None], "the store still answers"
    finally:
        await store.aclose()
