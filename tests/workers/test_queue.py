"""The stream of the queue holds what is not done, and little else."""

from __future__ import annotations

import itertools

import pytest
from redis.asyncio import Redis
from taskiq import AckableMessage

from rivya_async.workers import create_broker
from rivya_async.workers.queue_stats import QueueDepth, read_queue_depth, trim_queue
from tests.workers.redis_server import RedisServer

QUEUES = itertools.count()


@pytest.mark.parametrize("many", [0, 1000])
async def test_trim_removes_acknowledged_messages_only(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("rivya_async.workers.queue_stats.MANY", many)
    name = f"queue-{next(QUEUES)}"
    broker = create_broker(shared_redis.url, queue=name)
    assert await read_queue_depth(broker) == QueueDepth(0, 0)
    broker.is_worker_process = True
    await broker.startup()
    redis = Redis.from_url(shared_redis.url)
    stream = f"{name}:stream:{name}"
    for number in range(6):
        await redis.xadd(stream, {"data": str(number)})
    messages = broker.listen()
    try:
        taken = [await anext(messages) for _ in range(6)]
        assert await read_queue_depth(broker) == QueueDepth(0, 6)
        await redis.xadd(stream, {"data": "6"})
        for message in (taken[0], taken[2], taken[3]):
            assert isinstance(message, AckableMessage)
            acknowledged = message.ack()
            assert acknowledged is not None
            await acknowledged
        assert await trim_queue(broker) == (3 if many == 0 else 1), "the first goes at once"
        assert await read_queue_depth(broker) == QueueDepth(1, 3), "nothing that is not done has gone"
        assert await redis.xlen(stream) == (4 if many == 0 else 6)
    finally:
        await messages.aclose()
        await broker.shutdown()
        await redis.aclose()
