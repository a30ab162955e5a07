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
from rivya_async.workers import JobState, RivyaSessionDep, RivyaWorker, broker_at, store_at
from rivya_async.workers.queue import depth_of
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


async def test_a_job_is_bought_waited_for_and_told_in_plain_values(worker: RivyaWorker, sandbox: Sandbox) -> None:
    told = await end_of(await worker.generate.kiq("z-image", "A red kite", params={"aspect_ratio": "16:9"}))
    (task,) = sandbox.world.tasks.values()
    assert json.loads(json.dumps(told)) == told
    assert (told["state"], told["task_id"], told["credits"], told["model"]) == ("succeeded", task.id, 1, "z-image")
    assert len(told["urls"]) == 1
    assert (told["error"], told["error_code"], told["files"]) == (None, None, [])
    assert task.params == {"aspect_ratio": "16:9"}


async def test_the_key_is_minted_when_the_job_is_enqueued(worker: RivyaWorker, sandbox: Sandbox) -> None:
    told = [await end_of(await worker.generate.kiq("z-image", f"Kite {n}")) for n in range(2)]
    assert {each["idempotency_key"] for each in told} == set(sandbox.received.purchases_by_key)
    assert len(sandbox.received.purchases_by_key) == 2


async def test_one_key_is_one_purchase_however_often_it_is_enqueued(worker: RivyaWorker, sandbox: Sandbox) -> None:
    tasks = [await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1") for _ in range(10)]
    ends = await asyncio.gather(*map(end_of, tasks))
    assert len({end["task_id"] for end in ends}) == 1
    assert sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_what_was_uploaded_is_a_reference(worker: RivyaWorker, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "kite.png").write_bytes(picture())
    file = await worker.session.files.upload(tmp_path / "kite.png")
    for reference in (file, file.as_reference()):
        told = await end_of(await worker.generate.kiq("nano-banana-2", "The same at night", references=[reference]))
        assert told["state"] == "succeeded"
    sent = [json.loads(request.body) for request in sandbox.received if request.body is not None]
    assert [body["params"]["referenceMediaItems"] for body in sent] == [[file.as_reference().to_wire()]] * 2


async def test_a_failed_job_is_told_and_not_raised(worker: RivyaWorker) -> None:
    told = await end_of(await worker.generate.kiq("z-image", "A kite [fail]"))
    assert told["state"] == "failed"
    assert told["error_code"]
    assert told["error"]


async def test_a_job_of_elsewhere_is_waited_for(worker: RivyaWorker, sandbox: Sandbox) -> None:
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        bought = await session.submit("z-image", "A kite")
    told = await end_of(await worker.wait.kiq(bought.id))
    assert (told["state"], told["task_id"]) == ("succeeded", bought.id)
    assert sandbox.received.purchases == 1


async def test_files_are_saved_on_the_side_of_the_worker(worker: RivyaWorker, tmp_path: Path) -> None:
    order = {"download_to": str(tmp_path / "kites"), "name": "kite-{index}{ext}"}
    told = await end_of(await worker.generate.kiq("z-image", "A kite", **order))
    (file,) = told["files"]
    assert Path(file["path"]) == tmp_path / "kites" / "kite-1.png"
    assert Path(file["path"]).stat().st_size == file["size"]
    assert [path.name for path in (tmp_path / "kites").iterdir()] == ["kite-1.png"]


async def test_what_cannot_be_saved_is_told_beside_the_success(
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
        (("z-image", "A kite"), {"idempotency_key": "two words"}, "cannot be sent in a header"),
        (("z-image", "A kite"), {"idempotency_key": ""}, "0 characters"),
        (("z-image", "A kite"), {"name": "{nmae}"}, "unknown field"),
        (("z-image", "A kite"), {"download_to": 7}, "path of a folder of the workers"),
        (("z-image",), {"params": {1: 2}}, "must be strings"),
    ],
)
async def test_a_bad_order_is_refused_where_it_is_made(
    args: tuple[Any, ...], kwargs: dict[str, Any], advice: str, sandbox: Sandbox
) -> None:
    async with worker_in(None, sandbox) as worker:
        with pytest.raises(ConfigurationError, match=advice):
            await worker.generate.kiq(*args, **kwargs)
    assert sandbox.received.count() == 0


async def test_a_bad_order_to_wait_is_refused_where_it_is_made(sandbox: Sandbox) -> None:
    async with worker_in(None, sandbox) as worker:
        with pytest.raises(ConfigurationError, match="takes the task id"):
            await worker.wait.kiq("")
        with pytest.raises(ConfigurationError, match="takes task_id by place"):
            await worker.wait.kiq("task_1", "kites")


# --- what the service refuses -----------------------------------------------------------------------------------------


async def test_what_the_service_refuses_is_a_dead_letter_with_its_reason(worker: RivyaWorker, sandbox: Sandbox) -> None:
    told = await end_of(await worker.generate.kiq("no-such-model", "A kite", idempotency_key="kite-1"))
    assert (told["state"], told["task_id"]) == ("dead", None)
    assert told["error_code"]
    assert await letters(worker) == [(told["error_code"], "kite-1")]
    assert sandbox.received.purchases == 0


async def test_an_order_that_was_given_up_is_carried_when_it_is_enlisted_again(
    worker: RivyaWorker, sandbox: Sandbox
) -> None:
    sandbox.faults.add(route="POST /api/v1/generations", nth=1, status=422, code="validation_failed")
    told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert (told["state"], told["error_code"]) == ("dead", "validation_failed")
    again = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert again["state"] == "dead", "a message that comes again is no new order"
    assert await worker.enlist("kite-1")
    told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert (told["state"], told["error"]) == ("succeeded", None)
    assert not await worker.enlist("kite-1"), "what has ended well need not be enqueued"
    assert sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_a_transient_fault_is_no_reason_to_give_up(
    worker: RivyaWorker, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.fulfilment.FIRST_PAUSE", 0.01)
    sandbox.faults.add(route="POST /api/v1/generations", nth=[1, 2, 3, 4], drop=True, act=True)
    told = await end_of(await worker.generate.kiq("z-image", "A kite"))
    assert told["state"] == "succeeded"
    assert sandbox.received.purchases == 1


# --- beside the tasks -------------------------------------------------------------------------------------------------


async def test_tasks_of_users_get_the_session_of_the_worker(opening: Opening) -> None:
    async with opening() as worker:

        @worker.broker.task("tests.balance")
        async def balance(session: Annotated[RivyaSession, RivyaSessionDep]) -> float:
            assert session is worker.session
            return (await session.credits.retrieve()).current_credits

        for _ in range(2):
            task = await balance.kiq()  # type: ignore[call-overload]  # what is injected need not be given
            result = await task.wait_result(check_interval=0.01, timeout=10)
            assert result.return_value == 100, "the session is still open after the first"


async def test_what_became_of_an_order_can_be_asked_by_its_key(worker: RivyaWorker) -> None:
    told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    record, unknown = await worker.read(["kite-1", "kite-2"])
    assert unknown is None
    assert record is not None
    assert (record.state, record.task_id) == (JobState.SUCCEEDED, told["task_id"])


async def test_what_one_worker_has_learned_the_next_one_knows(opening: Opening) -> None:
    async with opening(queue="learning") as worker:
        await end_of(await worker.generate.kiq("z-image", "A kite"))
        store = worker.store
        learned = worker.session.durations.dump()
    if isinstance(worker.broker, InMemoryBroker):
        assert await store.load_durations() == learned
    else:
        async with opening(queue="learning") as worker:
            assert worker.session.durations.dump() == learned


async def test_only_the_in_memory_broker_needs_no_store(shared_redis: RedisServer) -> None:
    with pytest.raises(ConfigurationError, match="store=RedisStore"):
        RivyaWorker(broker_at(shared_redis.url))


async def test_an_option_that_no_session_has_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="max_conections"):
        RivyaWorker(InMemoryBroker(), max_conections=3)


@pytest.mark.parametrize("url", ["amqp://localhost", "localhost:6379", ""])
def test_a_url_that_is_no_broker_of_ours_says_what_to_do(url: str) -> None:
    with pytest.raises(ConfigurationError, match="make another kind of Taskiq broker yourself"):
        broker_at(url)


def test_the_url_of_a_broker_is_never_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        broker_at("amqp://user:secret@localhost")
    assert "secret" not in str(caught.value)


async def test_outside_of_a_worker_process_there_is_no_session(sandbox: Sandbox) -> None:
    worker = RivyaWorker(InMemoryBroker(), api_key=sandbox.api_key, base_url=sandbox.base_url)
    with pytest.raises(ConfigurationError, match="only in a worker process"):
        worker.session  # noqa: B018 - it raises


async def test_a_worker_without_a_key_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIVYA_API_KEY", raising=False)
    worker = RivyaWorker(InMemoryBroker())
    with pytest.raises(ConfigurationError, match="RIVYA_API_KEY"):
        await worker.broker.startup()
    await worker.broker.shutdown()


async def test_a_worker_of_one_process_keeps_its_own_rate(sandbox: Sandbox) -> None:
    async with worker_in(None, sandbox, rate_limit=RateLimit(1000)) as worker:
        assert (await end_of(await worker.generate.kiq("z-image", "A kite")))["state"] == "succeeded"


async def test_a_worker_ends_though_redis_says_nothing(
    redis: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.worker.FAREWELL", 0.2)
    worker = RivyaWorker(
        broker_at(redis.url), store=store_at(redis.url), api_key=sandbox.api_key, base_url=sandbox.base_url
    )
    worker.broker.is_worker_process = True
    await worker.broker.startup()
    session = worker.session
    redis.freeze()
    await worker._close(worker.broker.state)
    assert "closed" in repr(session)
    redis.kill()
    await worker.broker.shutdown()


async def test_a_worker_that_finds_no_redis_does_not_begin(
    redis: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.worker.PATIENCE", 0.2)
    monkeypatch.setattr("rivya_async.workers.worker.FAREWELL", 0.2)
    redis.stop()
    worker = RivyaWorker(
        broker_at(redis.url), store=store_at(redis.url), api_key=sandbox.api_key, base_url=sandbox.base_url
    )
    worker.broker.is_worker_process = True
    with pytest.raises(TimeoutError):
        await worker.broker.startup()
    with pytest.raises(ConfigurationError, match="only in a worker process"):
        worker.session  # noqa: B018 - it raises
    await worker.broker.shutdown()


# --- messages that are no orders --------------------------------------------------------------------------------------


async def test_a_message_that_nobody_can_read_is_a_dead_letter_and_stops_nothing(
    sandbox: Sandbox, shared_redis: RedisServer
) -> None:
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


async def test_an_order_that_went_past_the_checks_is_a_dead_letter(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with worker_in(shared_redis, sandbox) as worker:
        message = raw("rivya.generate", nonsense=1)
        await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        await end_of(await worker.generate.kiq("z-image", "A kite"))
        _, (letter,) = await worker.store.dead_letters(5)
        assert "there is no argument 'nonsense'" in letter.reason


async def test_a_message_that_comes_too_often_without_an_end_is_a_dead_letter(
    opening: Opening, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    monkeypatch.setattr("rivya_async.workers.fulfilment.MOST_DELIVERIES", 2)
    async with opening() as worker:
        await worker.store.advance("kite-1", {None}, JobState.QUEUED)
        for _ in range(2):
            await worker.store.count_delivery("kite-1")
        told = await end_of(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
        assert (told["state"], told["error_code"]) == ("dead", "poison")
        assert await letters(worker) == [("poison", "kite-1")]
    assert sandbox.received.purchases == 0


# --- room for all -----------------------------------------------------------------------------------------------------


async def test_orders_that_wait_keep_no_slot_from_other_tasks(sandbox: Sandbox, shared_redis: RedisServer) -> None:
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


async def test_more_orders_than_places_are_carried_one_after_the_other(
    sandbox: Sandbox, shared_redis: RedisServer
) -> None:
    async with worker_in(shared_redis, sandbox, max_orders=3) as worker:
        orders = [await worker.generate.kiq("z-image", f"Kite {n}") for n in range(20)]
        assert {end["state"] for end in await asyncio.gather(*map(end_of, orders))} == {"succeeded"}


# --- messages that would stay with a worker for ever -----------------------------------------------------------------


async def held(worker: RivyaWorker) -> int:
    depth = await depth_of(worker.broker)
    assert depth is not None
    return depth.held


async def test_a_result_that_could_not_be_saved_is_saved_later_and_the_message_goes(
    sandbox: Sandbox, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.receiver.PAUSE", 0.01)
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
        while await held(worker):  # noqa: ASYNC110 - it is acknowledged after the result is there
            await asyncio.sleep(0.01)
    assert sandbox.received.purchases == 1


async def test_a_timeout_of_the_engine_abandons_no_paid_job(sandbox: Sandbox, shared_redis: RedisServer) -> None:
    async with worker_in(shared_redis, sandbox) as worker:
        sandbox.faults.add(route="GET /api/v1/generations/{task_id}", nth=range(1, 8), status=503)
        order = await worker.generate.kicker().with_labels(timeout=0.01).kiq("z-image", "A kite")
        assert (await end_of(order))["state"] == "succeeded"


async def test_messages_with_labels_or_arguments_of_nobody_are_dead_letters_and_go(
    sandbox: Sandbox, shared_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    bad = json.loads(raw("rivya.generate", model="z-image", prompt="A secret prompt"))
    unreadable = json.dumps({**bad, "labels": {"x": "y"}, "labels_types": {"x": 3}}).encode()
    messages = [unreadable, raw("rivya.generate", model="z-image", context=1), raw("rivya.wait", task_id="t", desk=1)]
    async with worker_in(shared_redis, sandbox) as worker:
        for message in messages:
            await worker.broker.kick(BrokerMessage(task_id="1", task_name="x", message=message, labels={}))
        await end_of(await worker.generate.kiq("z-image", "A kite"))
        while await held(worker):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        count, found = await worker.store.dead_letters(10)
    assert count == 3
    assert "A secret prompt" not in caplog.text + "".join(letter.reason for letter in found)


async def test_what_is_saved_in_one_folder_can_be_saved_in_another(worker: RivyaWorker, tmp_path: Path) -> None:
    bought = await worker.session.submit("z-image", "A kite")
    for folder in ("one", "two"):
        told = await end_of(await worker.wait.kiq(bought.id, download_to=str(tmp_path / folder)))
        assert [Path(file["path"]).parent.name for file in told["files"]] == [folder]


@pytest.mark.parametrize("url", ["redis://:s3/cret@localhost:6379", "redis://localhost:port", "redis://[::1"])
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        broker_at(url)
    assert "s3" not in str(caught.value)
