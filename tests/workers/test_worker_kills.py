"""Workers are killed and Redis is restarted during a run: each job is bought once and ends."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial

from rivya_async.sandbox import Sandbox
from rivya_async.workers import RivyaWorker
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import WorkerProcesses, connect_client, count_states, start_workers, wait_until

JOBS = 500
LIMIT = 150
"""Requests per second of the account."""


async def enqueue_jobs(worker: RivyaWorker, count: int) -> list[str]:
    keys = [f"kite-{number}" for number in range(count)]
    await asyncio.gather(*(worker.generate.kiq("z-image", key, idempotency_key=key) for key in keys))
    return keys


async def all_ended(worker: RivyaWorker, keys: list[str]) -> bool:
    counts = await count_states(worker, keys)
    return counts["succeeded"] + counts["failed"] + counts["dead"] == len(keys)


def add_faults(sandbox: Sandbox) -> None:
    """Makes one request in twenty fail; half of these take effect all the same."""
    for fault in ({"status": 503}, {"drop": True}, {"drop": True, "act": True}, {"status": 500, "act": True}):
        sandbox.faults.add(rate=0.0125, **fault)


def assert_bought_once(sandbox: Sandbox, keys: list[str]) -> None:
    assert dict(sandbox.request_log.purchases_by_key) == dict.fromkeys(keys, 1)
    assert sandbox.request_log.purchases == len(keys)


async def test_killed_workers_buy_each_of_500_jobs_once(redis: RedisServer) -> None:
    rng = random.Random(7)
    async with Sandbox(seed=7, speed=20, credits=10_000, rate_limit=LIMIT, rate_window=1.0) as sandbox:
        add_faults(sandbox)
        async with connect_client(redis) as worker:
            keys = await enqueue_jobs(worker, JOBS)
            with start_workers(redis, sandbox, 3, rate_limit=0.9 * LIMIT) as workers:
                kills = await _kill_workers(workers, worker, keys, rng)
                await wait_until(lambda: all_ended(worker, keys), timeout=120)
                assert await count_states(worker, keys) == Counter(succeeded=JOBS)
                assert workers.terminate() == 0
            assert kills >= 6
        assert_bought_once(sandbox, keys)
        assert sandbox.request_log.count_status(429) <= 0.02 * sandbox.request_log.count(), (
            "the workers share the rate limit"
        )


async def _kill_workers(workers: WorkerProcesses, worker: RivyaWorker, keys: list[str], rng: random.Random) -> int:
    kills = 0
    await wait_until(lambda: len(workers.pids) == 3)
    while kills < 12 and not await all_ended(worker, keys):
        await asyncio.sleep(rng.uniform(0.3, 2.5))
        pids = workers.pids
        if pids:
            workers.kill(rng.choice(pids))
            kills += 1
    return kills


async def test_redis_restart_loses_no_job(redis: RedisServer) -> None:
    async with Sandbox(seed=7, speed=20, credits=10_000, rate_limit=LIMIT, rate_window=1.0) as sandbox:
        async with connect_client(redis) as worker:
            keys = await enqueue_jobs(worker, 200)
            with start_workers(redis, sandbox, 2, rate_limit=0.9 * LIMIT) as workers:
                for purchases, stop_redis in ((20, redis.stop), (120, redis.kill)):
                    await wait_until(partial(_has_bought, sandbox, purchases))
                    stop_redis()
                    await asyncio.sleep(1.0)
                    redis.start()
                await wait_until(lambda: all_ended(worker, keys), timeout=90)
                assert await count_states(worker, keys) == Counter(succeeded=200)
                assert workers.terminate() == 0
        assert_bought_once(sandbox, keys)
        assert sandbox.request_log.count_status(429) <= 0.02 * sandbox.request_log.count()


def _has_bought(sandbox: Sandbox, count: int) -> bool:
    return sandbox.request_log.purchases >= count
