"""Workers on a Redis that others can write to (B5, B6, B7, B14, B19, S8, S9, S13)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from rivya_async._core.errors import OutcomeUnknownError, RivyaError
from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobRecord, JobState, RivyaWorker
from rivya_async.workers.redis_availability import describe_redis_error
from rivya_async.workers.remote_client import error_from_record
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import running_worker, wait_for_result, wait_until

QUEUE = "hostile"
STREAM = f"{QUEUE}:stream:{QUEUE}"


@pytest_asyncio.fixture
async def sandbox() -> Any:
    async with Sandbox(speed=500, credits=100) as running:
        yield running


@pytest_asyncio.fixture
async def client(shared_redis: RedisServer) -> Any:
    redis = Redis.from_url(shared_redis.url)
    await redis.flushall()
    yield redis
    await redis.aclose()


def message(task: str = "rivya.generate", labels: Any = None, **arguments: Any) -> bytes:
    value: dict[str, Any] = {"task_id": "1", "task_name": task, "labels": labels or {}, "args": [], "kwargs": arguments}
    return json.dumps(value).encode()


def order(**arguments: Any) -> bytes:
    return message(**{"model": "z-image", "prompt": "A kite", "idempotency_key": "kite-1", **arguments})


DEEP = b"[" * 100_000 + b"]" * 100_000
NESTED: Any = "x"
for _ in range(300):
    NESTED = [NESTED]

HOSTILE_ENTRIES: dict[str, dict[bytes, bytes]] = {
    "no message in the entry": {b"foo": b"bar"},
    "empty message": {b"data": b""},
    "not UTF-8": {b"data": b"\xff\xfe\x00\x80"},
    "not an object": {b"data": b"[1, 2, 3]"},
    "null": {b"data": b"null"},
    "deep recursion": {b"data": DEEP},
    "deep recursion in the arguments": {b"data": order().replace(b'"A kite"', DEEP)},
    "nested params": {b"data": order(params={"x": NESTED})},
    "huge message": {b"data": b"x" * (17 * 1024 * 1024)},
    "huge integer": {b"data": order().replace(b'"A kite"', b"9" * 10_000)},
    "infinite number": {b"data": order(params={"x": 1}).replace(b'{"x": 1}', b'{"x": 1e999}')},
    "lone surrogate in the prompt": {b"data": order(prompt="\ud800")},
    "lone surrogate in the task id": {b"data": message("rivya.wait", task_id="\ud800")},
    "lone surrogate in the folder": {b"data": message("rivya.wait", task_id="task_1", download_to="\ud800")},
    "null byte in the folder": {b"data": order(download_to="a\0b")},
    "line break in the task id": {b"data": message("rivya.wait", task_id="task_1\nERROR forged")},
    "wrong types": {b"data": order(model=7, params=[1], references={"a": 1}, name=[])},
    "arguments of the task's dependencies": {b"data": order(context=1, worker_context=None)},
    "labels of wrong types": {b"data": message("tests.other", labels={"ack_type": [], "timeout": {}})},
    "unknown acknowledgement": {b"data": message("tests.quick", labels={"ack_type": "never"})},
    "unknown label types": {b"data": order().replace(b'"labels": {}', b'"labels": {"a": 1}, "labels_types": {"a": 9}')},
    "unknown task": {b"data": message("no\nsuch task")},
}


@pytest.mark.parametrize("name", HOSTILE_ENTRIES)
async def test_hostile_messages_become_dead_letters(
    name: str, client: Any, shared_redis: RedisServer, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """B5, S9."""
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:

        @worker.broker.task("tests.quick")
        async def quick() -> None: ...

        await client.xadd(STREAM, HOSTILE_ENTRIES[name])
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-2"))
        assert result["state"] == "succeeded"
        await wait_until(lambda: worker.store.list_dead_letters(5))
        count, (letter,) = await worker.store.list_dead_letters(5)
        assert (count, letter.error_type) == (1, "InvalidMessageError")

        broker: Any = worker.broker

        async def everything_is_acknowledged() -> bool:
            return bool((await client.xpending(STREAM, broker.consumer_group_name))["pending"] == 0)

        await wait_until(everything_is_acknowledged)
    assert sandbox.request_log.purchases_by_key == {"kite-2": 1}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "\n" not in warnings[0]


async def test_an_argument_of_a_later_version_makes_the_job_dead_under_its_key(
    client: Any, shared_redis: RedisServer, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """B7."""
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        await client.xadd(STREAM, {b"data": order(seed_policy="new in 2.0")})
        await wait_until(lambda: worker.read_jobs(["kite-1"]), interval=0.02)

        async def is_dead() -> bool:
            (record,) = await worker.read_jobs(["kite-1"])
            return record is not None and record.state is JobState.DEAD

        await wait_until(is_dead)
        (record,) = await worker.read_jobs(["kite-1"])
        assert record is not None
        assert record.error_type == "InvalidMessageError"
        assert record.error_code is None
        assert "seed_policy" in (record.error or "")
        await wait_until(lambda: worker.store.list_dead_letters(1))
        _, (letter,) = await worker.store.list_dead_letters(1)
        assert letter.key == "kite-1"
    assert any("seed_policy" in text for text in caplog.messages)
    assert sandbox.request_log.purchases == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "no JSON"},
        {"state": '"a state of a later version"'},
        {"state": "[" * 100_000},
        {"state": '"planned"', "intent_at": "1e999"},
        {"state": '"planned"', "files": '[{"path": 1}]'},
        {"state": '"submitted"', "task_id": '{"a": 1}'},
        {"state": '"succeeded"', "generation": '{"id": 5}'},
        {"state": '"planned"', "deliveries": '"many"'},
        {"state": b"\xff\xfe"},
        None,
    ],
)
async def test_a_record_that_cannot_be_read_is_a_dead_letter_and_never_a_purchase(
    fields: Any, client: Any, shared_redis: RedisServer, sandbox: Sandbox
) -> None:
    """S9."""
    key = f"{{{QUEUE}}}:job:kite-1"
    await (client.set(key, "a string") if fields is None else client.hset(key, mapping=fields))
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
        assert (result["state"], result["error_type"]) == ("dead", "InvalidRecordError")
        _, (letter,) = await worker.store.list_dead_letters(5)
        assert letter.key == "kite-1"
    assert sandbox.request_log.purchases == 0


async def test_unknown_fields_of_a_record_are_ignored(client: Any, shared_redis: RedisServer, sandbox: Sandbox) -> None:
    """B7: a later version may add members."""
    await client.hset(f"{{{QUEUE}}}:job:kite-1", mapping={"state": '"planned"', "colour": "no JSON"})
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert result["state"] == "succeeded"


async def test_a_paid_job_is_recorded_again_when_its_record_is_overwritten(
    client: Any, shared_redis: RedisServer, sandbox: Sandbox
) -> None:
    sandbox.faults.add(route="POST /api/v1/generations", delay=0.5)
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        task = await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1")
        await wait_until(lambda: sandbox.request_log.count("POST /api/v1/generations"))
        await client.set(f"{{{QUEUE}}}:job:kite-1", "a string")
        assert (await wait_for_result(task))["state"] == "succeeded"
    assert sandbox.request_log.purchases == 1


HOSTILE_KEYS = {
    "rate": {"ceiling": "nan", "climbs_from": "0", "is_guess": "0", "hold_until": "0"},
    "rate ": {"ceiling": "1e-300", "climbs_from": "0", "is_guess": "0", "hold_until": "0"},
    "rate  ": {"ceiling": "5", "climbs_from": "0", "is_guess": "0", "hold_until": "1e18"},
    "rate   ": {"hold_until": b"\xff"},
    "rate    ": "a string",
    "durations": "{",
    "durations ": '{"version": 1, "groups": {"z-image": {"ends": -1}}}',
    "durations  ": "[" * 100_000,
    "durations   ": {"a": "hash"},
    "dead": "a string",
    "changes": "a string",
    "workers": "a string",
}


@pytest.mark.parametrize("name", HOSTILE_KEYS)
async def test_hostile_state_is_ignored_with_one_warning(
    name: str, client: Any, shared_redis: RedisServer, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """S9."""
    key, value = f"{{{QUEUE}}}:{name.strip()}", HOSTILE_KEYS[name]
    await (client.set(key, value) if isinstance(value, str) else client.hset(key, mapping=value))
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        await client.xadd(STREAM, {b"foo": b"bar"})
        for number in range(3):
            result = await wait_for_result(await worker.generate.kiq("z-image", f"Kite {number}"))
            assert result["state"] == "succeeded"
    problems = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(problems) <= 2, "one for the message, at most one for the key"


async def test_dead_letters_that_cannot_be_read_are_shown(client: Any, shared_redis: RedisServer) -> None:
    await client.lpush(
        f"{{{QUEUE}}}:dead", "{", b"\xff", '{"error_type": "JobInDoubtError", "reason": "old", "at": 1.0}'
    )
    worker = RivyaWorker.from_url(shared_redis.url, queue=QUEUE)
    async with worker.lifespan():
        count, letters = await worker.store.list_dead_letters(5)
    assert count == 3
    assert [letter.error_type for letter in letters] == ["JobInDoubtError", "", ""]


async def test_a_queue_that_redis_has_lost_is_created_again(
    client: Any, shared_redis: RedisServer, sandbox: Sandbox
) -> None:
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        await client.flushall()
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
    assert result["state"] == "succeeded"


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["/etc", "..", "sub/../../x", "link/x"])
async def test_files_are_saved_inside_the_download_root_only(
    folder: str, client: Any, shared_redis: RedisServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    """S8."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    async with running_worker(shared_redis, sandbox, queue=QUEUE, download_root=root) as worker:
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", download_to=folder))
        assert (result["state"], result["error_type"]) == ("dead", "InvalidJobError")
        inside = await wait_for_result(await worker.generate.kiq("z-image", "A kite", download_to="kites"))
    assert [Path(file["path"]).parent for file in inside["files"]] == [root / "kites"]
    assert sandbox.request_log.purchases == 1


async def test_a_worker_without_a_download_root_saves_no_files(
    client: Any, shared_redis: RedisServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    """S8."""
    async with running_worker(shared_redis, sandbox, queue=QUEUE, download_root=None) as worker:
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", download_to=str(tmp_path)))
    assert result["state"] == "dead"
    assert "--download-root" in result["error"]


async def test_links_of_a_stored_record_are_never_followed(
    client: Any, shared_redis: RedisServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    """S8."""
    async with running_worker(shared_redis, sandbox, queue=QUEUE, download_root=tmp_path) as worker:
        bought = await worker.session.submit("z-image", "A kite")
        forged = {
            "id": bought.id,
            "status": "succeeded",
            "model": "z-image",
            "result": {"primary_url": f"{sandbox.base_url}/forged.png"},
        }
        fields = {"state": '"succeeded"', "task_id": json.dumps(bought.id), "generation": json.dumps(forged)}
        await client.hset(f"{{{QUEUE}}}:job:kite-1", mapping=fields)
        task = await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1", download_to="kites")
        result = await wait_for_result(task)
    assert len(result["files"]) == 1
    assert not any("forged" in request.path for request in sandbox.request_log)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RivyaError", "copy_error", "__builtins__", "annotations", "WaitTimeoutError", ""])
def test_the_class_of_an_error_comes_from_a_table(name: str) -> None:
    error = error_from_record(JobRecord(key="kite-1", state=JobState.DEAD, error="x", error_type=name))
    assert type(error) is RivyaError


def test_a_record_that_cannot_be_read_is_an_unknown_outcome() -> None:
    record = JobRecord(key="kite-1", state=JobState.DEAD, error="x", error_type="InvalidRecordError")
    assert isinstance(error_from_record(record), OutcomeUnknownError)


async def test_a_message_of_the_service_cannot_forge_a_line_of_the_log(
    client: Any, shared_redis: RedisServer, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """S13."""
    text = "no\n2026-01-01 1 INFO bought\x1b[2J\u2028forged"
    body = json.dumps({"error": {"code": "validation_failed", "message": text}})
    sandbox.faults.add(route="POST /api/v1/generations", status=422, body=body)
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
    assert any("2026-01-01" in message for message in caplog.messages)
    assert all(message.isprintable() for message in caplog.messages)


# --- outages ----------------------------------------------------------------------------------------------------------


def test_the_cause_of_an_outage_is_named() -> None:
    """B6."""
    from redis.exceptions import AuthenticationError
    from redis.exceptions import ConnectionError as RedisConnectionError

    assert "password" in describe_redis_error(AuthenticationError("WRONGPASS invalid"), "h:1")
    refused = RedisConnectionError("Error 111")
    refused.__cause__ = ConnectionRefusedError()
    assert "refused" in describe_redis_error(refused, "h:1")


async def test_an_outage_is_a_handful_of_lines(
    redis: RedisServer, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """B19."""
    async with running_worker(redis, sandbox, queue=QUEUE) as worker, Redis.from_url(redis.url) as client:
        sandbox.faults.add(route="POST /api/v1/generations", delay=0.3)
        tasks = [await worker.generate.kiq("z-image", f"Kite {number}") for number in range(50)]
        await wait_until(lambda: sandbox.request_log.count("POST /api/v1/generations"))
        await client.replicaof("127.0.0.1", "1")
        await asyncio.sleep(3)  # the outage, with all its retries
        await client.replicaof("NO", "ONE")
        ends = await asyncio.gather(*map(wait_for_result, tasks))
    assert {end["state"] for end in ends} == {"succeeded"}
    assert sandbox.request_log.purchases == 50
    problems = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(problems) <= 8, [record.getMessage() for record in problems]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis://:wrong@127.0.0.1:{port}", "redis://no.such.invalid"])
async def test_a_worker_without_redis_says_so_at_once_and_stops_at_sigterm(
    url: str, redis: RedisServer, sandbox: Sandbox
) -> None:
    """B6."""
    async with Redis.from_url(redis.url) as client:
        await client.config_set("requirepass", "right")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rivya_async", "worker", "--json", "--broker", url.format(port=redis.port)),
        env={**os.environ, "RIVYA_API_KEY": sandbox.api_key, "RIVYA_BASE_URL": sandbox.base_url},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = json.loads(await asyncio.wait_for(process.stderr.readline(), 60))
    cause = {"redis://127": "refused", "redis://:wr": "password", "redis://no.": "resolved"}[url[:11]]
    assert cause in line["message"]
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    stopped = json.loads(await process.stderr.readline())
    assert time.monotonic() - begin < 2.5
    assert "has stopped" in stopped["message"]
    _, rest = await process.communicate()
    assert (process.returncode, rest) == (0, b"")


# --- telemetry and journals -------------------------------------------------------------------------------------------


async def test_telemetry_is_exported_when_a_worker_stops(
    client: Any, shared_redis: RedisServer, sandbox: Sandbox
) -> None:
    """B14."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from rivya_async.otel import Telemetry

    exporter, traces = InMemorySpanExporter(), TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))
    telemetry = Telemetry(tracer_provider=traces, meter_provider=MeterProvider())
    async with running_worker(shared_redis, sandbox, queue=QUEUE, hooks=[telemetry]) as worker:
        await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
        assert exporter.get_finished_spans() == ()
    assert any(span.name.startswith("POST") for span in exporter.get_finished_spans())
    await asyncio.to_thread(traces.shutdown)
