"""Jobs on both brokers: bought once, run to their end, returned as plain values."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from taskiq import InMemoryBroker

from rivya_async import ConfigurationError, RateLimit, RivyaSession
from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobState, RivyaSessionDep, RivyaWorker, create_broker
from rivya_async.workers.heartbeat import load_prices
from tests.media_kit import picture
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import (
    OpenWorker,
    create_redis_worker,
    dead_letter_codes,
    running_worker,
    wait_for_result,
    wait_until,
)

# --- results of jobs --------------------------------------------------------------------------------------------------


async def test_generate_returns_plain_values(worker: RivyaWorker, sandbox: Sandbox) -> None:
    result = await wait_for_result(await worker.generate.kiq("z-image", "A red kite", params={"aspect_ratio": "16:9"}))
    (task,) = sandbox.service_state.tasks.values()
    assert json.loads(json.dumps(result)) == result
    assert (result["state"], result["task_id"], result["credits"], result["model"]) == (
        "succeeded",
        task.id,
        1,
        "z-image",
    )
    assert len(result["urls"]) == 1
    assert (result["error"], result["error_code"], result["files"]) == (None, None, [])
    assert task.params == {"aspect_ratio": "16:9"}


async def test_key_is_created_at_enqueue(worker: RivyaWorker, sandbox: Sandbox) -> None:
    result = [await wait_for_result(await worker.generate.kiq("z-image", f"Kite {n}")) for n in range(2)]
    assert {each["idempotency_key"] for each in result} == set(sandbox.request_log.purchases_by_key)
    assert len(sandbox.request_log.purchases_by_key) == 2


async def test_one_purchase_per_key(worker: RivyaWorker, sandbox: Sandbox) -> None:
    tasks = [await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1") for _ in range(10)]
    ends = await asyncio.gather(*map(wait_for_result, tasks))
    assert len({end["task_id"] for end in ends}) == 1
    assert sandbox.request_log.purchases_by_key == {"kite-1": 1}


async def test_uploaded_file_is_a_reference(worker: RivyaWorker, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "kite.png").write_bytes(picture())
    file = await worker.session.files.upload(tmp_path / "kite.png")
    for reference in (file, file.as_reference()):
        result = await wait_for_result(
            await worker.generate.kiq("nano-banana-2", "The same at night", references=[reference])
        )
        assert result["state"] == "succeeded"
    sent = [json.loads(request.body) for request in sandbox.request_log if request.body is not None]
    assert [body["params"]["referenceMediaItems"] for body in sent] == [[file.as_reference().to_wire()]] * 2


async def test_failed_job_is_returned_not_raised(worker: RivyaWorker) -> None:
    result = await wait_for_result(await worker.generate.kiq("z-image", "A kite [fail]"))
    assert result["state"] == "failed"
    assert result["error_code"]
    assert result["error"]


async def test_waits_for_a_job_of_another_process(worker: RivyaWorker, sandbox: Sandbox) -> None:
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        bought = await session.submit("z-image", "A kite")
    result = await wait_for_result(await worker.wait.kiq(bought.id))
    assert (result["state"], result["task_id"]) == ("succeeded", bought.id)
    assert sandbox.request_log.purchases == 1


async def test_worker_saves_files(worker: RivyaWorker, tmp_path: Path) -> None:
    task = {"download_to": str(tmp_path / "kites"), "name": "kite-{index}{ext}"}
    result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", **task))
    (file,) = result["files"]
    assert Path(file["path"]) == tmp_path / "kites" / "kite-1.png"
    assert Path(file["path"]).stat().st_size == file["size"]
    assert [path.name for path in (tmp_path / "kites").iterdir()] == ["kite-1.png"]


async def test_save_failure_is_reported_with_success(
    worker: RivyaWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.01)
    (tmp_path / "kites").write_text("not a folder")
    result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", download_to=str(tmp_path / "kites")))
    assert (result["state"], result["error_type"], result["files"]) == ("succeeded", "FilesNotSavedError", [])
    assert len(result["urls"]) == 1


async def test_job_can_be_saved_to_two_folders(worker: RivyaWorker, tmp_path: Path) -> None:
    bought = await worker.session.submit("z-image", "A kite")
    for folder in ("one", "two"):
        result = await wait_for_result(await worker.wait.kiq(bought.id, download_to=str(tmp_path / folder)))
        assert [Path(file["path"]).parent.name for file in result["files"]] == [folder]


# --- invalid jobs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "advice"),
    [
        ((), {}, "model must be the id of a model"),
        (("z-image", "A kite", {}), {}, "all other arguments by name"),
        (("z-image", "A kite"), {"parms": {}}, "did you mean 'params'"),
        (("z-image", "A kite"), {"references": ["kite.png"]}, "upload it with session.files.upload"),
        (("z-image", "A kite"), {"idempotency_key": "two words"}, "cannot be sent in a header"),
        (("z-image", "A kite"), {"idempotency_key": ""}, "0 characters"),
        (("z-image", "A kite"), {"name": "{nmae}"}, "unknown field"),
        (("z-image", "A kite"), {"download_to": 7}, "path of a folder of the workers"),
        (("z-image",), {"params": {1: 2}}, "must be strings"),
    ],
)
async def test_invalid_generate_arguments_are_rejected_at_enqueue(
    args: tuple[Any, ...], kwargs: dict[str, Any], advice: str, sandbox: Sandbox
) -> None:
    async with running_worker(None, sandbox) as worker:
        with pytest.raises(ConfigurationError, match=advice):
            await worker.generate.kiq(*args, **kwargs)
    assert sandbox.request_log.count() == 0


async def test_invalid_wait_arguments_are_rejected_at_enqueue(sandbox: Sandbox) -> None:
    async with running_worker(None, sandbox) as worker:
        with pytest.raises(ConfigurationError, match="takes the task id"):
            await worker.wait.kiq("")
        with pytest.raises(ConfigurationError, match="takes task_id by position"):
            await worker.wait.kiq("task_1", "kites")


# --- errors of the service --------------------------------------------------------------------------------------------


async def test_rejected_job_is_a_dead_letter(worker: RivyaWorker, sandbox: Sandbox) -> None:
    result = await wait_for_result(await worker.generate.kiq("no-such-model", "A kite", idempotency_key="kite-1"))
    assert (result["state"], result["task_id"]) == ("dead", None)
    assert result["error_code"]
    assert await dead_letter_codes(worker) == [(result["error_code"], "kite-1")]
    assert sandbox.request_log.purchases == 0


async def test_dead_job_runs_after_register(worker: RivyaWorker, sandbox: Sandbox) -> None:
    sandbox.faults.add(route="POST /api/v1/generations", nth=1, status=422, code="validation_failed")
    result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert (result["state"], result["error_code"]) == ("dead", "validation_failed")
    again = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert again["state"] == "dead", "another message is not a new job"
    assert await worker.register("kite-1")
    result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    assert (result["state"], result["error"]) == ("succeeded", None)
    assert not await worker.register("kite-1"), "a succeeded job need not be enqueued"
    assert sandbox.request_log.purchases_by_key == {"kite-1": 1}


async def test_transient_errors_are_retried(
    worker: RivyaWorker, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.01)
    sandbox.faults.add(route="POST /api/v1/generations", nth=[1, 2, 3, 4], drop=True, act=True)
    result = await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
    assert result["state"] == "succeeded"
    assert sandbox.request_log.purchases == 1


# --- the worker -------------------------------------------------------------------------------------------------------


async def test_user_tasks_get_the_workers_session(open_worker: OpenWorker) -> None:
    async with open_worker() as worker:

        @worker.broker.task("tests.balance")
        async def balance(session: Annotated[RivyaSession, RivyaSessionDep]) -> float:
            assert session is worker.session
            return (await session.credits.retrieve()).current_credits

        for _ in range(2):
            task = await balance.kiq()  # type: ignore[call-overload]  # the session is injected
            result = await task.wait_result(check_interval=0.01, timeout=10)
            assert result.return_value == 100, "the session stays open after the first task"


async def test_read_jobs_by_key(worker: RivyaWorker) -> None:
    result = await wait_for_result(await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1"))
    record, unknown = await worker.read_jobs(["kite-1", "kite-2"])
    assert unknown is None
    assert record is not None
    assert (record.state, record.task_id) == (JobState.SUCCEEDED, result["task_id"])


async def test_learned_durations_and_prices_are_shared(open_worker: OpenWorker) -> None:
    async with open_worker(queue="learning") as worker:
        await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
        store = worker.store
        learned = worker.session.durations.dump()
        prices = worker.session.prices.dump()
        assert list(prices["models"]) == ["z-image"]
    if isinstance(worker.broker, InMemoryBroker):
        assert await store.load_observations() == {**learned, "prices": prices}
    else:
        async with open_worker(queue="learning") as worker:
            assert worker.session.durations.dump() == learned
            assert worker.session.prices.dump() == prices


@pytest.mark.parametrize("prices", [5, {"version": 9}, {"version": 1, "models": {"z-image": {"prices": "free"}}}])
async def test_invalid_shared_prices_are_ignored(
    open_worker: OpenWorker, caplog: pytest.LogCaptureFixture, prices: Any
) -> None:
    async with open_worker() as worker:
        observations = {**worker.session.durations.dump(), "prices": prices}
        await worker.store.save_observations(observations)
        load_prices(worker.session, await worker.store.load_observations() or {})
        assert worker.session.prices.dump()["models"] == {}
        await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
        learned = worker.session.prices.dump()
        store = worker.store
    assert "the shared prices of jobs are ignored" in caplog.text
    if isinstance(worker.broker, InMemoryBroker):
        assert (await store.load_observations() or {})["prices"] == learned


async def test_redis_broker_requires_a_store(shared_redis: RedisServer) -> None:
    with pytest.raises(ConfigurationError, match="store=RedisStore"):
        RivyaWorker(create_broker(shared_redis.url))


async def test_unknown_session_option_is_rejected() -> None:
    with pytest.raises(TypeError, match="max_conections"):
        RivyaWorker(InMemoryBroker(), max_conections=3)


@pytest.mark.parametrize("url", ["amqp://localhost", "localhost:6379", ""])
def test_unsupported_broker_url_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError, match="create another kind of Taskiq broker yourself"):
        create_broker(url)


def test_broker_url_is_not_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_broker("amqp://user:secret@localhost")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://:s3/cret@localhost:6379", "redis://localhost:port", "redis://[::1"])
def test_malformed_broker_url_is_not_in_the_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be parsed") as caught:
        create_broker(url)
    assert "s3" not in str(caught.value)


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
    async with running_worker(None, sandbox, rate_limit=RateLimit(1000)) as worker:
        assert (await wait_for_result(await worker.generate.kiq("z-image", "A kite")))["state"] == "succeeded"


async def test_worker_closes_while_redis_is_silent(
    redis: RedisServer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.worker.CLOSE_TIMEOUT", 0.2)
    worker = create_redis_worker(redis, sandbox)
    await worker.broker.startup()
    session = worker.session
    redis.freeze()
    await worker._close(worker.broker.state)
    assert "closed" in repr(session)
    redis.kill()
    await worker.broker.shutdown()


async def test_worker_without_redis_waits_for_it(
    redis: RedisServer, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    redis.stop()
    worker = create_redis_worker(redis, sandbox)
    startup = asyncio.create_task(worker.broker.startup())
    await wait_until(lambda: caplog.records)
    with pytest.raises(ConfigurationError, match="only in a worker process"):
        worker.session  # noqa: B018 - it raises
    redis.start()
    await startup
    assert worker.session.base_url == sandbox.base_url
    await worker.broker.shutdown()
    assert ["unavailable" in caplog.messages[0], *caplog.messages[1:]] == [True, "Redis is available again"]
