"""A worker that runs in the test's own process, on either broker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskiq import InMemoryBroker, TaskiqEvents

from rivya_async import PollPolicy, RetryPolicy
from rivya_async.sandbox import Sandbox
from rivya_async.workers import DrainingReceiver, RivyaWorker, create_broker, create_store
from tests.workers.redis_server import RedisServer

QUICK = PollPolicy(first=0.02, base=0.03, floor=0.02, cap=0.1, adaptive=False)
HASTY = RetryPolicy(max_attempts=3, base=0.01, cap=0.02)
QUEUES = itertools.count()


@asynccontextmanager
async def worker_in(
    redis: RedisServer | None, sandbox: Sandbox, *, max_jobs: int = 1000, **options: Any
) -> AsyncIterator[RivyaWorker]:
    """A worker at its work, until it is told to finish. Those of one `queue` share their orders."""
    queue = options.pop("queue", None) or f"test-{next(QUEUES)}"
    settings = {"api_key": sandbox.api_key, "base_url": sandbox.base_url, "poll": QUICK, "retry": HASTY, **options}
    if redis is None:
        worker = RivyaWorker(InMemoryBroker(), **settings)
        await worker.broker.startup()
        try:
            yield worker
        finally:
            await worker.broker.shutdown()
        return
    worker = RivyaWorker(create_broker(redis.url, queue=queue), store=create_store(redis.url, queue=queue), **settings)
    worker.broker.is_worker_process = True
    opened, finish = asyncio.Event(), asyncio.Event()
    worker.broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, lambda _: opened.set())
    receiver = DrainingReceiver(worker.broker, max_async_tasks=2, max_jobs=max_jobs, wait_tasks_timeout=10.0)
    listening = asyncio.create_task(receiver.listen(finish))
    try:
        async with asyncio.timeout(10):
            await opened.wait()
        yield worker
    finally:
        finish.set()
        await listening
        await worker.broker.shutdown()
