"""A batch on workers: the same results and the same journal as with one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
from redis.exceptions import ResponseError

from rivya_async import (
    BadRequestError,
    GenerationFailedError,
    GenerationRequest,
    InsufficientCreditsError,
    OutcomeUnknownError,
    RequestNotSentError,
    RivyaError,
    RivyaSession,
    SpendLimitError,
)
from rivya_async.batch import Batch, JobState, Row, RowRecord
from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobRecord, RemoteJobClient, RivyaWorker
from rivya_async.workers.remote_client import error_from_record
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import running_worker

SUBMIT = "POST /api/v1/generations"


@attrs.define
class ClientSetup:
    """A service, a worker, a client and a folder."""

    sandbox: Sandbox
    worker: RivyaWorker
    session: RivyaSession
    client: RemoteJobClient
    folder: Path

    async def run(self, rows: list[Row] | None = None, **options: Any) -> list[RowRecord]:
        async with Batch.open(self.folder / "kites.journal") as batch:
            await batch.add(rows or [])
            return [record async for record in batch.run(self.client, **{"retry_timeout": 0.0, **options})]


def rows(count: int, **changes: Any) -> list[Row]:
    return [
        Row(**{"number": n, "line": n, "model": "z-image", "prompt": f"Kite {n}", **changes})
        for n in range(1, count + 1)
    ]


@pytest_asyncio.fixture(params=["memory", "redis"])
async def env(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClientSetup]:
    redis: RedisServer | None = None if request.param == "memory" else request.getfixturevalue("shared_redis")
    async with client_setup(redis, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def client_setup(redis: RedisServer | None, folder: Path) -> AsyncIterator[ClientSetup]:
    async with (
        Sandbox(speed=500, credits=1000) as sandbox,
        running_worker(redis, sandbox) as worker,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        RemoteJobClient(worker, session) as client,
    ):
        yield ClientSetup(sandbox, worker, session, client, folder)


async def test_batch_runs_on_workers_and_saves_locally(env: ClientSetup) -> None:
    records = await env.run(rows(20), download_to=env.folder / "out")
    assert Counter(record.state for record in records) == {JobState.DOWNLOADED: 20}
    assert len(list((env.folder / "out").glob("*.png"))) == 20
    assert env.sandbox.request_log.purchases_by_key == {record.key: 1 for record in records}
    assert sum(record.credits for record in records) == env.sandbox.spent


async def test_workers_save_files(env: ClientSetup) -> None:
    out = env.folder / "worker"
    records = await env.run(rows(5), download_to=out, save=env.client.save)
    assert Counter(record.state for record in records) == {JobState.DOWNLOADED: 5}
    saved = [file for record in records for file in record.files]
    assert {Path(file.path) for file in saved} == set(out.glob("*.png"))
    assert all(Path(file.path).stat().st_size == file.size for file in saved)


async def test_next_run_saves_unsaved_files(env: ClientSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.01)
    out = env.folder / "worker"
    out.write_text("not a folder")
    (record,) = await env.run(rows(1), download_to=out, save=env.client.save)
    assert (record.state, record.error_type) == (JobState.SUCCEEDED, "DownloadError")
    out.unlink()
    (record,) = await env.run(download_to=out, save=env.client.save)
    assert record.state is JobState.DOWNLOADED
    assert env.sandbox.request_log.purchases == 1


async def test_failed_jobs_are_failed_rows(env: ClientSetup) -> None:
    (record,) = await env.run(rows(1, prompt="[fail]"))
    assert record.state is JobState.FAILED
    assert record.error


async def test_rejection_ends_one_row_or_all_purchases(env: ClientSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, nth=1, status=422, code="validation_failed")
    env.sandbox.faults.add(route=SUBMIT, status=402, code="insufficient_credits")
    async with Batch.open(env.folder / "kites.journal") as batch:
        await batch.add(rows(5))
        async for _ in batch.run(env.client, max_in_flight=1, retry_timeout=0.0):
            pass
        assert isinstance(batch.halted, InsufficientCreditsError)
        assert batch.counts == Counter({JobState.DEAD: 1, JobState.PLANNED: 4})
    env.sandbox.faults.clear()
    records = await env.run()
    assert Counter(record.state for record in records) == {JobState.SUCCEEDED: 4}, "rejected jobs run again"


async def test_stopped_run_buys_nothing_more_and_resumes(env: ClientSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, delay=0.05)
    async with Batch.open(env.folder / "kites.journal") as batch:
        await batch.add(rows(30))
        seen = 0
        async for _ in batch.run(env.client, max_in_flight=5):
            seen += 1
            if seen == 3:
                env.client.stop()
                batch.stop()
    async with Batch.open(env.folder / "kites.journal") as batch:
        assert not batch.counts[JobState.INTENT], "withdrawn jobs reserve no credits"
    bought = env.sandbox.request_log.purchases
    assert bought < 30
    await asyncio.sleep(0.2)
    assert env.sandbox.request_log.purchases == bought, "messages in the queue are not bought"
    env.sandbox.faults.clear()
    async with RemoteJobClient(env.worker, env.session) as client:
        env.client = client
        await env.run()
    async with Batch.open(env.folder / "kites.journal") as batch:
        assert batch.counts == Counter({JobState.SUCCEEDED: 30})
    assert env.sandbox.request_log.purchases == 30


async def test_cancelled_submit_withdraws_the_job(env: ClientSetup) -> None:
    env.worker.drain()  # no worker starts it
    request = GenerationRequest("z-image", "A kite")
    submitting = asyncio.create_task(env.client.submit(request, idempotency_key="kite-1"))
    while (await env.worker.read_jobs(["kite-1"])) == [None]:  # noqa: ASYNC110 - the store sends no event
        await asyncio.sleep(0.01)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    (record,) = await env.worker.read_jobs(["kite-1"])
    assert record is not None
    assert record.state is JobState.WITHDRAWN
    assert env.sandbox.request_log.purchases == 0


async def test_workers_wait_for_a_job_of_another_process(env: ClientSetup) -> None:
    bought = await env.session.submit("z-image", "A kite")
    assert (await env.client.wait_for(bought)).succeeded
    failing = await env.session.submit("z-image", "[fail]")
    with pytest.raises(GenerationFailedError):
        await env.client.wait_for(failing.id)


async def test_lost_record_is_enqueued_again(env: ClientSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.remote_client.FULL_READ_INTERVAL", 0.05)
    lost_reads: list[Any] = []
    read = env.worker.store.read

    async def read_and_lose(keys: Any) -> Any:
        if "kite-1" in keys and len(lost_reads) < 3:
            lost_reads.append(keys)
            return [None for _ in keys]
        return await read(keys)

    monkeypatch.setattr(env.worker.store, "read", read_and_lose)
    bought = await env.client.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    assert env.sandbox.request_log.purchases_by_key == {"kite-1": 1}
    assert bought.id in env.sandbox.service_state.tasks


async def test_wait_survives_a_lost_record(env: ClientSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.remote_client.FULL_READ_INTERVAL", 0.05)
    bought = await env.client.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    read = env.worker.store.read

    async def read_and_lose(keys: Any) -> Any:
        return [None if key == "kite-1" else record for key, record in zip(keys, await read(keys), strict=True)]

    monkeypatch.setattr(env.worker.store, "read", read_and_lose)
    async with asyncio.timeout(10):
        assert (await env.client.wait_for(bought)).succeeded


async def test_store_errors_are_retried(env: ClientSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    read_changes = env.worker.store.read_changes
    failures: list[float] = []

    async def failing(since: float) -> Any:
        if len(failures) < 2:
            failures.append(since)
            raise ResponseError("OOM command not allowed")
        return await read_changes(since)

    monkeypatch.setattr(env.worker.store, "read_changes", failing)
    async with asyncio.timeout(10):
        bought = await env.client.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
        assert (await env.client.wait_for(bought)).succeeded


async def test_full_store_raises_not_sent(env: ClientSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(key: str) -> bool:
        raise ResponseError("OOM command not allowed")

    monkeypatch.setattr(env.worker, "register", full)
    with pytest.raises(RequestNotSentError, match="OOM command not allowed"):
        await env.client.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")


async def test_lost_broker_reply_raises_outcome_unknown(env: ClientSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    kick = env.worker.broker.kick

    async def kick_and_fail(message: Any) -> None:
        await kick(message)
        raise ConnectionError("the reply was lost")

    monkeypatch.setattr(env.worker.broker, "kick", kick_and_fail)
    with pytest.raises(OutcomeUnknownError, match="the reply was lost") as caught:
        await env.client.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    assert caught.value.idempotency_key == "kite-1"
    monkeypatch.undo()
    bought = await env.client.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    assert (await env.client.wait_for(bought)).succeeded
    assert env.sandbox.request_log.purchases_by_key == {"kite-1": 1}


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"state": JobState.WITHDRAWN}, RequestNotSentError),
        ({"error_type": "JobInDoubtError"}, OutcomeUnknownError),
        ({"error_code": "insufficient_credits", "status": 402}, InsufficientCreditsError),
        ({"error_code": "validation_failed", "status": 422}, BadRequestError),
        ({"error_type": "SpendLimitError"}, SpendLimitError),
        ({"error_type": "PoisonMessageError"}, RivyaError),
        ({"error_type": "APIStatusError"}, RivyaError),
        ({}, RivyaError),
    ],
)
def test_error_from_record_keeps_the_class(facts: dict[str, Any], kind: type[RivyaError]) -> None:
    error = error_from_record(JobRecord(**{"key": "kite-1", "state": JobState.DEAD, "error": "why", **facts}))
    assert type(error) is kind
    assert error.idempotency_key == "kite-1"
