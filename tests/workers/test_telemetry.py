"""What a worker tells OpenTelemetry: what its session does, how long the queue is, and how fast it may send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rivya_async import RateLimit
from rivya_async.otel import Telemetry
from rivya_async.sandbox import Sandbox
from rivya_async.workers import RivyaWorker
from tests.workers.engine_room import worker_in
from tests.workers.redis_server import RedisServer


def gauges(reader: InMemoryMetricReader) -> dict[str, Any]:
    told: Any = reader.get_metrics_data()
    metrics = {metric.name: metric for metric in told.resource_metrics[0].scope_metrics[0].metrics}
    names = ("rivya.queue.depth", "rivya.rate_limit")
    return {name: metrics[name].data.data_points[0].value for name in names}


async def test_worker_emits_spans_and_gauges(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.heartbeat.BEAT", 0.02)
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    seen: list[RivyaWorker] = []
    telemetry = Telemetry(
        tracer_provider=tracers,
        meter_provider=meters,
        queue_depth=lambda: seen[0].queue_depth if seen else None,
        rate_limit=lambda: seen[0].rate if seen else None,
    )
    async with Sandbox(speed=500) as sandbox:
        async with worker_in(shared_redis, sandbox, hooks=[telemetry], rate_limit=RateLimit(250)) as worker:
            seen.append(worker)
            task = await worker.generate.kiq("z-image", "A secret prompt")
            told = (await task.wait_result(check_interval=0.01, timeout=10)).return_value
            while worker.queue_depth is None:  # noqa: ASYNC110 - it is told at the next beat
                await asyncio.sleep(0.01)
            assert gauges(reader) == {"rivya.queue.depth": 0, "rivya.rate_limit": 250}
        key = sandbox.api_key
    finished = spans.get_finished_spans()
    assert {"POST /api/v1/generations", "GET /api/v1/generations/{id}", "rivya.wait"} <= {
        span.name for span in finished
    }
    (wait,) = (span for span in finished if span.name == "rivya.wait")
    assert wait.attributes is not None
    assert wait.attributes["rivya.task_id"] == told["task_id"]
    everything = " ".join(span.to_json() for span in finished)
    for secret in ("A secret prompt", key):
        assert secret not in everything
