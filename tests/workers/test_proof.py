"""The proof: workers are killed and Redis is restarted in mid-run; every job is bought once, and comes to its end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial

from rivya_async.sandbox import Sandbox
from rivya_async.workers import RivyaWorker
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import Crew, client, crew, states, until

JOBS = 500
LIMIT = 150
"""Requests per second of the account."""


async def order(worker: RivyaWorker, count: int) -> list[str]:
    keys = [f"kite-{number}" for number in range(count)]
    await asyncio.gather(*(worker.generate.kiq("z-image", key, idempotency_key=key) for key in keys))
    return keys


async def settled(worker: RivyaWorker, keys: list[str]) -> bool:
    counts = await states(worker, keys)
    return counts["succeeded"] + counts["failed"] + counts["dead"] == len(keys)


def misbehave(sandbox: Sandbox) -> None:
    """One request in twenty goes wrong; half of those are carried out all the same."""
    for fault in ({"status": 503}, {"drop": True}, {"drop": True, "act": True}, {"status": 500, "act": True}):
        sandbox.faults.add(rate=0.0125, **fault)


def check(sandbox: Sandbox, keys: list[str]) -> None:
    assert dict(sandbox.received.purchases_by_key) == dict.fromkeys(keys, 1), "each is bought once"
    assert sandbox.received.purchases == len(keys)


async def test_killed_workers_buy_each_of_500_jobs_once(redis: RedisServer) -> None:
    dice = random.Random(7)
    async with Sandbox(seed=7, speed=20, credits=10_000, rate_limit=LIMIT, rate_window=1.0) as sandbox:
        misbehave(sandbox)
        async with client(redis) as worker:
            keys = await order(worker, JOBS)
            with crew(redis, sandbox, 3, rate_limit=0.9 * LIMIT) as workers:
                kills = await _kill_now_and_then(workers, worker, keys, dice)
                await until(lambda: settled(worker, keys), seconds=120)
                assert await states(worker, keys) == Counter(succeeded=JOBS)
                assert workers.end() == 0
            assert kills >= 6
        check(sandbox, keys)
        refused = sandbox.received.answered(429)
        assert refused <= 0.02 * sandbox.received.count(), "the workers keep the account's limit together"


async def _kill_now_and_then(workers: Crew, worker: RivyaWorker, keys: list[str], dice: random.Random) -> int:
    kills = 0
    await until(lambda: len(workers.pids) == 3)
    while kills < 12 and not await settled(worker, keys):
        await asyncio.sleep(dice.uniform(0.3, 2.5))
        alive = workers.pids
        if alive:
            workers.kill(dice.choice(alive))
            kills += 1
    return kills


async def test_redis_restart_loses_no_job(redis: RedisServer) -> None:
    async with Sandbox(seed=7, speed=20, credits=10_000, rate_limit=LIMIT, rate_window=1.0) as sandbox:
        async with client(redis) as worker:
            keys = await order(worker, 200)
            with crew(redis, sandbox, 2, rate_limit=0.9 * LIMIT) as workers:
                for bought, end in ((20, redis.stop), (120, redis.kill)):
                    await until(partial(_has_bought, sandbox, bought))
                    end()
                    await asyncio.sleep(1.0)
                    redis.start()
                await until(lambda: settled(worker, keys), seconds=90)
                assert await states(worker, keys) == Counter(succeeded=200)
                assert workers.end() == 0
        check(sandbox, keys)
        assert sandbox.received.answered(429) <= 0.02 * sandbox.received.count()


def _has_bought(sandbox: Sandbox, count: int) -> bool:
    return sandbox.received.purchases >= count
