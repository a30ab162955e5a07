"""The depth and the trimming of the queue, and the spans and gauges of a worker."""

from __future__ import annotations

import itertools

import pytest
from redis.asyncio import Redis
from taskiq import AckableMessage

from rivya_async import RateLimit
from rivya_async.otel import Telemetry
from rivya_async.sandbox import Sandbox
from rivya_async.workers import RivyaWorker, create_broker
from rivya_async.workers.queue_stats import QueueDepth, read_queue_depth, trim_queue
from tests.otel.otel_kit import Backend, attributes_of
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import running_worker, wait_until

QUEUE_NUMBERS = itertools.count()


@pytest.mark.parametrize("max_acknowledged", [0, 1000])
async def test_trim_removes_acknowledged_messages_only(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, max_acknowledged: int
) -> None:
    monkeypatch.setattr("rivya_async.workers.queue_stats.MAX_ACKNOWLEDGED", max_acknowledged)
    name = f"queue-{next(QUEUE_NUMBERS)}"
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
        received = [await anext(messages) for _ in range(6)]
        assert await read_queue_depth(broker) == QueueDepth(0, 6)
        await redis.xadd(stream, {"data": "6"})
        for message in (received[0], received[2], received[3]):
            assert isinstance(message, AckableMessage)
            acknowledgement = message.ack()
            assert acknowledgement is not None
            await acknowledgement
        assert await trim_queue(broker) == (3 if max_acknowledged == 0 else 1), "the first is deleted at once"
        assert await read_queue_depth(broker) == QueueDepth(1, 3), "unfinished messages stay"
        assert await redis.xlen(stream) == (4 if max_acknowledged == 0 else 6)
    finally:
        await messages.aclose()
        await broker.shutdown()
        await redis.aclose()


async def test_worker_emits_spans_and_gauges(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.heartbeat.HEARTBEAT_INTERVAL", 0.02)
    backend = Backend()
    workers: list[RivyaWorker] = []
    telemetry = Telemetry(
        **backend.providers,
        queue_depth=lambda: workers[0].queue_depth if workers else None,
        rate_limit=lambda: workers[0].rate if workers else None,
    )
    async with Sandbox(speed=500) as sandbox:
        async with running_worker(shared_redis, sandbox, hooks=[telemetry], rate_limit=RateLimit(250)) as worker:
            workers.append(worker)
            task = await worker.generate.kiq("z-image", "A secret prompt")
            result = (await task.wait_result(check_interval=0.01, timeout=10)).return_value
            await wait_until(lambda: worker.queue_depth is not None)
            points = backend.points()
            gauges = {name: points[name][0].value for name in ("rivya.queue.depth", "rivya.rate_limit")}
            assert gauges == {"rivya.queue.depth": 0, "rivya.rate_limit": 250}
        secrets = ("A secret prompt", sandbox.api_key)
    names = {span.name for span in backend.spans()}
    assert {"POST /api/v1/generations", "GET /api/v1/generations/{id}", "rivya.wait"} <= names
    (wait,) = backend.spans("rivya.wait")
    assert attributes_of(wait)["rivya.task_id"] == result["task_id"]
    exported = backend.everything()
    for secret in secrets:
        assert secret not in exported
    backend.close()
