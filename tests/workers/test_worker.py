"""Orders on either broker: bought once, carried to their end, and told as plain values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
import pytest_asyncio
from taskiq import AsyncTaskiqTask, InMemoryBroker
from taskiq.message import BrokerMessage

from rivya_async import ConfigurationError, RateLimit, RivyaSession
from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobState, RivyaSessionDep, RivyaWorker, create_broker, create_store
from rivya_async.workers.queue_stats import read_queue_depth
from tests.media_kit import picture
from tests.workers.engine_room import worker_in
from tests.workers.redis_server import RedisServer

Opening = Callable[..., AbstractAsyncContextManager[RivyaWorker]]


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=500, credits=100) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def opening(request: pytest.FixtureRequest, sandbox: Sandbox) -> Opening:
    """Opens a worker on this broker; several may be open on one queue."""
    redis: RedisServer | None = None if request.param == "memory" else request.getfixturevalue("shared_redis")
    return partial(worker_in, redis, sandbox)


@pytest_asyncio.fixture
async def worker(opening: Opening) -> AsyncIterator[RivyaWorker]:
    async with opening() as opened:
        yield opened


async def end_of(task: AsyncTaskiqTask[Any]) -> dict[str, Any]:
    result = await task.wait_result(check_interval=0.01, timeout=20)
    assert not result.is_err, result.error
    value: dict[str, Any] = result.return_value
    return value


async def letters(worker: RivyaWorker) -> list[tuple[str, str | None]]:
    return [(letter.code, letter.key) for letter in (await worker.store.dead_letters(10))[1]]


def raw(task: str, **arguments: Any) -> bytes:
    """A message of somebody who does not use our checks."""
    return json.dumps({"task_id": "1", "task_name": task, "labels": {}, "args": [], "kwargs": arguments}).encode()


# --- what is ordered --------------------------------------------------------------------------------------------------


async def test_generate_returns_plain_values(worker: RivyaWorker, sandbox: Sandbox) -> None:
    told = await end_of(await worker.generate.kiq("z-image", "A red kite", params={"aspect_ratio": "16:9"}))
    (task,) = sandbox.world.tasks.values()
    assert json.loads(json.dumps(told)) == told
    assert (told["state"], told["task_id"], told["credits"], told["model"]) == ("succeeded", task.id, 1, "z-image")
    assert len(told["urls"]) == 1
    assert (told["error"], told["error_code"], told["files"]) == (None, None, [])
    assert task.params == {"aspect_ratio": "16:9"}


async def test_key_is_minted_at_enqueue(worker: RivyaWorker, sandbox: Sandbox) -> None:
    told = [await end_of(await worker.generate.kiq("z-image", f"Kite {n}")) for n in range(2)]
    assert {each["idempotency_key"] for each in told} == set(sandbox.received.purchases_by_key)
    assert len(sandbox.received.purchases_by_key) == 2


async def test_one_purchase_per_key(worker: RivyaWorker, sandbox: Sandbox) -> None:
    tasks = [await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1") for _ in range(10)]
    ends = await asyncio.gather(*map(end_of, tasks))
    assert len({end["task_id"] for end in ends}) == 1
    assert sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_uploaded_file_is_a_reference(worker: RivyaWorker, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "kite.png").write_bytes(picture())
    file = await worker.session.files.upload(tmp_path / "kite.png")
    for reference in (file, file.as_reference()):
        told = await end_of(await worker.generate.kiq("nano-banana-2", "The same at night", references=[reference]))
        assert told["state"] == "succeeded"
    sent = [json.loads(request.body) for request in sandbox.received if request.body is not None]
    assert [body["params"]["referenceMediaItems"] for body in sent] == [[file.as_reference().to_wire()]] * 2


async def test_failed_job_is_returned_not_raised(worker: RivyaWorker) -> None:
    told = await end_of(await worker.generate.kiq("z-image", "A kite [fail]"))
    assert told["state"] == "failed"
    assert told["error_code"]
    assert told["error"]


async def test_waits_for_a_job_of_another_process(worker: RivyaWorker, sandbox: Sandbox) -> None:
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        bought = await session.submit("z-image", "A kite")
    told = await end_of(await worker.wait.kiq(bought.id))
    assert (told["state"], told["task_id"]) == ("succeeded", bought.id)
    assert sandbox.received.purchases == 1


async def test_worker_saves_files(worker: RivyaWorker, tmp_path: Path) -> None:
    order = {"download_to": str(tmp_path / "kites"), "name": "kite-{index}{ext}"}
    told = await end_of(await worker.generate.kiq("z-image", "A kite", **order))
    (file,) = told["files"]
    assert Path(file["path"]) == tmp_path / "kites" / "kite-1.png"
    assert Path(file["path"]).stat().st_size == file["size"]
    assert [path.name for path in (tmp_path / "kites").iterdir()] == ["kite-1.png"]


async def test_save_failure_is_reported_with_success(
    worker: RivyaWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.fulfilment.FIRST_PAUSE", 0.01)
    (tmp_path / "kites").write_text("a file where a folder should be")
    told = await end_of(await worker.generate.kiq("z-image", "A kite", download_to=str(tmp_path / "kites")))
    assert (told["state"], told["error_code"], told["files"]) == ("succeeded", "not_saved", [])
    assert len(told["urls"]) == 1


# --- what cannot be an order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "advice"),
    [
        ((), {}, "model must be the id of a model"),
        (("z-image", "A kite", {}), {}, "everything else by name"),
        (("z-image", "A kite"), {"parms": {}}, "did you mean 'params'"),
        (("z-image", "A kite"), {"references": ["kite.png"]}, "upload it with session.files.upload"),
        (("z-image", "A kite"), {"idempotency_key": "two words"}, "cannot travel in a header"),
        (("z-image", "A kite"), {"idempotency_key": ""}, "0 characters"),
        (("z-image", "A kite"), {"name": "{nmae}"}, "unknown field"),
        (("z-image", "A kite"), {"download_to": 7}, "path of a folder of the workers"),
        (("z-image",), {"params": {1: 2}}, "must be strings"),
    ],
)
async def test_invalid_generate_arguments_are_rejected_at_enqueue(
    args: tuple[Any, ...], kwargs: dict[str, Any], advice: str, sandbox: Sandbox
) -> None:
    async with worker_in(None, sandbox) as worker:
        with pytest.raises(ConfigurationError, match=advice):
            await worker.generate.kiq(*args, **kwargs)
    assert sandbox.received.count() == 0


async def test_invalid_wait_arguments_are_rejected_at_enqueue(sandbox: Sandbox) -> None:
    async with worker_in(None, sandbox) as worker:
        with pytest.raises(ConfigurationError, match="takes the task id"):
            await worker.wait.kiq("")
        with pytest.raises(ConfigurationError, match="takes task_id by place"):
            await worker.wait.kiq("task_1", "kites")


# --- what the service refuses -----------------------------------------------------------------------------------------


async def test_rejected_job_is_a_dead_letter(worker: RivyaWorker, sandbox: Sandbox) -> None:
    told = await end_of(await worker.generate.kiq("no-such-model", "A kite", idempotency_key="kite-1"))
    assert (told["state"], told["task_id"]) == ("dead", None)
    assert told["error_code"]
    assert await letters(worker) == [(told["error_code"], "kite-1")]
    assert sandbox.received.purchases == 0


async def test_dead_job_runs_after_register(worker: RivyaWorker, sandbox: Sandbox) -> None:
    sandbox.faults.add(route="POST /api/v1/generations", nth=1, status=422, code="validation_failed")
    told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert (told["state"], told["error_code"]) == ("dead", "validation_failed")
    again = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert again["state"] == "dead", "a message that comes again is no new order"
    assert await worker.register("kite-1")
    told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert (told["state"], told["error"]) == ("succeeded", None)
    assert not await worker.register("kite-1"), "what has ended well need not be enqueued"
    assert sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_transient_errors_are_retried(
    worker: RivyaWorker, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.fulfilment.FIRST_PAUSE", 0.01)
    sandbox.faults.add(route="POST /api/v1/generations", nth=[1, 2, 3, 4], drop=True, act=True)
    told = await end_of(await worker.generate.kiq("z-image", "A kite"))
    assert told["state"] == "succeeded"
    assert sandbox.received.purchases == 1


# --- beside the tasks -------------------------------------------------------------------------------------------------


async def test_user_tasks_get_the_workers_session(opening: Opening) -> None:
    async with opening() as worker:

        @worker.broker.task("tests.balance")
        async def balance(session: Annotated[RivyaSession, RivyaSessionDep]) -> float:
            assert session is worker.session
            return (await session.credits.retrieve()).current_credits

        for _ in range(2):
            task = await balance.kiq()  # type: ignore[call-overload]  # what is injected need not be given
            result = await task.wait_result(check_interval=0.01, timeout=10)
            assert result.return_value == 100, "the session is still open after the first"


async def test_read_jobs_by_key(worker: RivyaWorker) -> None:
    told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    record, unknown = await worker.read_jobs(["kite-1", "kite-2"])
    assert unknown is None
    assert record is not None
    assert (record.state, record.task_id) == (JobState.SUCCEEDED, told["task_id"])


async def test_learned_durations_are_shared(opening: Opening) -> None:
    async with opening(queue="learning") as worker:
        await end_of(await worker.generate.kiq("z-image", "A kite"))
        store = worker.store
        learned = worker.session.durations.dump()
    if isinstance(worker.broker, InMemoryBroker):
        assert await store.load_durations() == learned
    else:
        async with opening(queue="learning") as worker:
            assert worker.session.durations.dump() == learned


async def test_redis_broker_requires_a_store(shared_redis: RedisServer) -> None:
    with pytest.raises(ConfigurationError, match="store=RedisStore"):
        RivyaWorker(create_broker(shared_redis.url))


async def test_unknown_session_option_is_rejected() -> None:
    with pytest.raises(TypeError, match="max_conections"):
        RivyaWorker(InMemoryBroker(), max_conections=3)


@pytest.mark.parametrize("url", ["amqp://localhost", "localhost:6379", ""])
def test_unsupported_broker_url_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError, match="make another kind of Taskiq broker yourself"):
        create_broker(url)


def test_broker_url_is_not_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_broker("amqp://user:secret@localhost")
    assert "secret" not in str(caught.value)


async def test_no_session_outside_a_worker_process(sandbox: Sandbox) -> None:
    worker = RivyaWorker(InMemoryBroker(), api_key=sandbox.api_key, base_url=sandbox.base_url)
    with pytest.raises(ConfigurationError, match="only in a worker process"):
        worker.session  # noqa: B018 - it raises


async def test_worker_without_api_key_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIVYA_API_KEY", raising=False)
    worker = RivyaWorker(InMemoryBroker())
    with pytest.raises(ConfigurationError, match="RIVYA_API_KEY"):
        await worker.broker.startup()
    await worker.broker.shutdown()


async def test_in_memory_worker_keeps_its_rate_limit(sandbox: Sandbox) -> None:
    async with worker_in(None, sandbox, rate_limit=RateLimit(1000)) as worker:
        assert (await end_of(await worker.generate.kiq("z-image", "A kite")))["state"] == "succeeded"


async def test_worker_closes_while_redis_is_silent(
    redis: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.worker.FAREWELL", 0.2)
    worker = RivyaWorker(
        create_broker(redis.url), store=create_store(redis.url), api_key=sandbox.api_key, base_url=sandbox.base_url
    )
    worker.broker.is_worker_process = True
    await worker.broker.startup()
    session = worker.session
    redis.freeze()
    await worker._close(worker.broker.state)
    assert "closed" in repr(session)
    redis.kill()
    await worker.broker.shutdown()


async def test_worker_without_redis_does_not_start(
    redis: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.worker.PATIENCE", 0.2)
    monkeypatch.setattr("rivya_async.workers.worker.FAREWELL", 0.2)
    redis.stop()
    worker = RivyaWorker(
        create_broker(redis.url), store=create_store(redis.url), api_key=sandbox.api_key, base_url=sandbox.base_url
    )
    worker.broker.is_worker_process = True
    with pytest.raises(TimeoutError):
        await worker.broker.startup()
    with pytest.raises(ConfigurationError, match="only in a worker process"):
        worker.session  # noqa: B018 - it raises
    await worker.broker.shutdown()


# --- messages that are no orders --------------------------------------------------------------------------------------


async def test_unreadable_message_is_a_dead_letter(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with worker_in(shared_redis, sandbox) as worker:
        for message in (b"no JSON at all", raw("nobody.knows")):
            await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        told = await end_of(await worker.generate.kiq("z-image", "A kite"))
        assert told["state"] == "succeeded"
        _, found = await worker.store.dead_letters(10)
    assert [letter.code for letter in found] == ["unreadable", "unreadable"]
    reasons = "".join(letter.reason for letter in found)
    assert "14 bytes, sha256" in reasons
    assert "no JSON at all" not in reasons, "it might have been a prompt"
    assert "nobody.knows" in reasons


async def test_invalid_message_is_a_dead_letter(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with worker_in(shared_redis, sandbox) as worker:
        message = raw("rivya.generate", nonsense=1)
        await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        await end_of(await worker.generate.kiq("z-image", "A kite"))
        _, (letter,) = await worker.store.dead_letters(5)
        assert "there is no argument 'nonsense'" in letter.reason


async def test_poison_message_is_a_dead_letter(
    opening: Opening, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    monkeypatch.setattr("rivya_async.workers.fulfilment.MOST_DELIVERIES", 2)
    async with opening() as worker:
        await worker.store.advance("kite-1", {None}, JobState.QUEUED)
        for _ in range(2):
            await worker.store.increment_deliveries("kite-1")
        told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
        assert (told["state"], told["error_code"]) == ("dead", "poison")
        assert await letters(worker) == [("poison", "kite-1")]
    assert sandbox.received.purchases == 0


# --- room for all -----------------------------------------------------------------------------------------------------


async def test_waiting_jobs_do_not_block_other_tasks(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    sandbox.faults.add(route="GET /api/v1/generations/{task_id}", status=503)
    async with worker_in(shared_redis, sandbox) as worker:  # it has two slots

        @worker.broker.task("tests.quick")
        async def quick() -> str:
            return "done"

        orders = [await worker.generate.kiq("z-image", f"Kite {n}") for n in range(20)]
        result = await (await quick.kiq()).wait_result(check_interval=0.01, timeout=10)
        assert result.return_value == "done"
        while sandbox.received.purchases < 20:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        sandbox.faults.clear()
        assert {end["state"] for end in await asyncio.gather(*map(end_of, orders))} == {"succeeded"}


async def test_more_jobs_than_slots_all_finish(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with worker_in(shared_redis, sandbox, max_jobs=3) as worker:
        orders = [await worker.generate.kiq("z-image", f"Kite {n}") for n in range(20)]
        assert {end["state"] for end in await asyncio.gather(*map(end_of, orders))} == {"succeeded"}


# --- messages that would stay with a worker for ever -----------------------------------------------------------------


async def unacknowledged(worker: RivyaWorker) -> int:
    depth = await read_queue_depth(worker.broker)
    assert depth is not None
    return depth.unacknowledged


async def test_failed_result_save_is_retried_before_ack(
    sandbox: Sandbox, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.taskiq_receiver.PAUSE", 0.01)
    async with worker_in(shared_redis, sandbox) as worker:
        backend = worker.broker.result_backend
        save = backend.set_result
        slips: list[Any] = []

        async def slipping(*args: Any) -> None:
            if len(slips) < 2:
                slips.append(args)
                raise OSError("no room")
            await save(*args)

        monkeypatch.setattr(backend, "set_result", slipping)
        assert (await end_of(await worker.generate.kiq("z-image", "A kite")))["state"] == "succeeded"
        while await unacknowledged(worker):  # noqa: ASYNC110 - it is acknowledged after the result is there
            await asyncio.sleep(0.01)
    assert sandbox.received.purchases == 1


async def test_task_timeout_label_is_ignored(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with worker_in(shared_redis, sandbox) as worker:
        sandbox.faults.add(route="GET /api/v1/generations/{task_id}", nth=range(1, 8), status=503)
        order = await worker.generate.kicker().with_labels(timeout=0.01).kiq("z-image", "A kite")
        assert (await end_of(order))["state"] == "succeeded"


async def test_messages_with_unknown_labels_or_arguments_are_dead_letters(
    sandbox: Sandbox, shared_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    bad = json.loads(raw("rivya.generate", model="z-image", prompt="A secret prompt"))
    unreadable = json.dumps({**bad, "labels": {"x": "y"}, "labels_types": {"x": 3}}).encode()
    messages = [
        unreadable,
        raw("rivya.generate", model="z-image", context=1),
        raw("rivya.wait", task_id="t", worker_context=1),
    ]
    async with worker_in(shared_redis, sandbox) as worker:
        for message in messages:
            await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        await end_of(await worker.generate.kiq("z-image", "A kite"))
        while await unacknowledged(worker):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        count, found = await worker.store.dead_letters(10)
    assert count == 3
    assert "A secret prompt" not in caplog.text + "".join(letter.reason for letter in found)


async def test_job_can_be_saved_to_two_folders(worker: RivyaWorker, tmp_path: Path) -> None:
    bought = await worker.session.submit("z-image", "A kite")
    for folder in ("one", "two"):
        told = await end_of(await worker.wait.kiq(bought.id, download_to=str(tmp_path / folder)))
        assert [Path(file["path"]).parent.name for file in told["files"]] == [folder]


@pytest.mark.parametrize("url", ["redis://:s3/cret@localhost:6379", "redis://localhost:port", "redis://[::1"])
def test_malformed_broker_url_is_not_in_the_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        create_broker(url)
    assert "s3" not in str(caught.value)
