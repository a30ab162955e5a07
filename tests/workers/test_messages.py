"""The handling of messages: dead letters, slots and acknowledgement."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from taskiq.message import BrokerMessage

from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobState, RivyaWorker
from rivya_async.workers.queue_stats import read_queue_depth
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import OpenWorker, dead_letter_codes, running_worker, wait_for_result


def raw_message(task: str, **arguments: Any) -> bytes:
    """A message of a client without our middleware."""
    return json.dumps({"task_id": "1", "task_name": task, "labels": {}, "args": [], "kwargs": arguments}).encode()


async def test_unreadable_message_is_a_dead_letter(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with running_worker(shared_redis, sandbox) as worker:
        for message in (b"not JSON at all", raw_message("unknown.task")):
            await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
        assert result["state"] == "succeeded"
        _, found = await worker.store.list_dead_letters(10)
    assert [letter.error_type for letter in found] == ["InvalidMessageError", "InvalidMessageError"]
    reasons = "".join(letter.reason for letter in found)
    assert "15 bytes, sha256" in reasons
    assert "not JSON at all" not in reasons, "the content may be a prompt"
    assert "unknown.task" in reasons


async def test_invalid_message_is_a_dead_letter(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with running_worker(shared_redis, sandbox) as worker:
        message = raw_message("rivya.generate", nonsense=1)
        await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
        _, (letter,) = await worker.store.list_dead_letters(5)
        assert "there is no argument 'nonsense'" in letter.reason


async def test_poison_message_is_a_dead_letter(
    open_worker: OpenWorker, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    monkeypatch.setattr("rivya_async.workers.job_runner.MAX_DELIVERIES", 2)
    async with open_worker() as worker:
        await worker.store.advance("kite-1", {None}, JobState.PLANNED)
        for _ in range(2):
            await worker.store.increment_deliveries("kite-1")
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
        assert (result["state"], result["error_type"]) == ("dead", "PoisonMessageError")
        assert await dead_letter_codes(worker) == [("PoisonMessageError", "kite-1")]
    assert sandbox.request_log.purchases == 0


# --- slots ------------------------------------------------------------------------------------------------------------


async def test_waiting_jobs_do_not_block_other_tasks(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    sandbox.faults.add(route="GET /api/v1/generations/{task_id}", status=503)
    async with running_worker(shared_redis, sandbox) as worker:  # it has two slots

        @worker.broker.task("tests.quick")
        async def quick() -> str:
            return "done"

        jobs = [await worker.generate.kiq("z-image", f"Kite {n}") for n in range(20)]
        result = await (await quick.kiq()).wait_result(check_interval=0.01, timeout=10)
        assert result.return_value == "done"
        while sandbox.request_log.purchases < 20:  # noqa: ASYNC110 - no event is sent
            await asyncio.sleep(0.01)
        sandbox.faults.clear()
        assert {end["state"] for end in await asyncio.gather(*map(wait_for_result, jobs))} == {"succeeded"}


async def test_more_jobs_than_slots_all_finish(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with running_worker(shared_redis, sandbox, max_jobs=3) as worker:
        jobs = [await worker.generate.kiq("z-image", f"Kite {n}") for n in range(20)]
        assert {end["state"] for end in await asyncio.gather(*map(wait_for_result, jobs))} == {"succeeded"}


# --- acknowledgement --------------------------------------------------------------------------------------------------


async def unacknowledged(worker: RivyaWorker) -> int:
    depth = await read_queue_depth(worker.broker)
    assert depth is not None
    return depth.unacknowledged


async def test_failed_result_save_is_retried_before_ack(
    sandbox: Sandbox, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.taskiq_receiver.RETRY_INTERVAL", 0.01)
    async with running_worker(shared_redis, sandbox) as worker:
        backend = worker.broker.result_backend
        save = backend.set_result
        failures: list[Any] = []

        async def failing(*args: Any) -> None:
            if len(failures) < 2:
                failures.append(args)
                raise OSError("disk full")
            await save(*args)

        monkeypatch.setattr(backend, "set_result", failing)
        assert (await wait_for_result(await worker.generate.kiq("z-image", "A kite")))["state"] == "succeeded"
        while await unacknowledged(worker):  # noqa: ASYNC110 - no event is sent
            await asyncio.sleep(0.01)
    assert sandbox.request_log.purchases == 1


async def test_task_timeout_label_is_ignored(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with running_worker(shared_redis, sandbox) as worker:
        sandbox.faults.add(route="GET /api/v1/generations/{task_id}", nth=range(1, 8), status=503)
        task = await worker.generate.kicker().with_labels(timeout=0.01).kiq("z-image", "A kite")
        assert (await wait_for_result(task))["state"] == "succeeded"


async def test_messages_with_unknown_labels_or_arguments_are_dead_letters(
    sandbox: Sandbox, shared_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    bad = json.loads(raw_message("rivya.generate", model="z-image", prompt="A secret prompt"))
    unreadable = json.dumps({**bad, "labels": {"x": "y"}, "labels_types": {"x": 3}}).encode()
    messages = [
        unreadable,
        raw_message("rivya.generate", model="z-image", context=1),
        raw_message("rivya.wait", task_id="t", worker_context=1),
    ]
    async with running_worker(shared_redis, sandbox) as worker:
        for message in messages:
            await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
        while await unacknowledged(worker):  # noqa: ASYNC110 - no event is sent
            await asyncio.sleep(0.01)
        count, found = await worker.store.list_dead_letters(10)
    assert count == 3
    assert "A secret prompt" not in caplog.text + "".join(letter.reason for letter in found)
