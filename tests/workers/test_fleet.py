"""A batch whose rows are carried by workers: the same ends, the same journal, as with one process."""

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
    GenerationFailed,
    GenerationRequest,
    InsufficientCredits,
    NotSent,
    OutcomeUnknown,
    RivyaError,
    RivyaSession,
    SpendLimitReached,
    ValidationFailed,
)
from rivya_async.batch import Batch, Row, RowRecord
from rivya_async.sandbox import Sandbox
from rivya_async.workers import Fleet, JobRecord, JobState, RivyaWorker
from rivya_async.workers.fleet import refusal
from tests.workers.engine_room import worker_in
from tests.workers.redis_server import RedisServer

SUBMIT = "POST /api/v1/generations"


@attrs.define
class Yard:
    """A service, a worker, a fleet and a folder."""

    sandbox: Sandbox
    worker: RivyaWorker
    session: RivyaSession
    fleet: Fleet
    folder: Path

    async def carry(self, rows: list[Row] | None = None, **options: Any) -> list[RowRecord]:
        async with Batch.open(self.folder / "kites.journal") as batch:
            await batch.add(rows or [])
            return [record async for record in batch.run(self.fleet, **{"patience": 0.0, **options})]


def rows(count: int, **changes: Any) -> list[Row]:
    return [
        Row(**{"number": n, "line": n, "model": "z-image", "prompt": f"Kite {n}", **changes})
        for n in range(1, count + 1)
    ]


@pytest_asyncio.fixture(params=["memory", "redis"])
async def yard(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Yard]:
    redis: RedisServer | None = None if request.param == "memory" else request.getfixturevalue("shared_redis")
    async with yard_in(redis, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def yard_in(redis: RedisServer | None, folder: Path) -> AsyncIterator[Yard]:
    async with (
        Sandbox(speed=500, credits=1000) as sandbox,
        worker_in(redis, sandbox) as worker,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        Fleet(worker, session) as fleet,
    ):
        yield Yard(sandbox, worker, session, fleet, folder)


async def test_a_batch_is_carried_by_workers_and_saved_here(yard: Yard) -> None:
    records = await yard.carry(rows(20), download_to=yard.folder / "out")
    assert Counter(record.state for record in records) == {JobState.DOWNLOADED: 20}
    assert len(list((yard.folder / "out").glob("*.png"))) == 20
    assert yard.sandbox.received.purchases_by_key == {record.key: 1 for record in records}
    assert sum(record.credits for record in records) == yard.sandbox.spent


async def test_workers_save_the_files_on_their_side(yard: Yard) -> None:
    out = yard.folder / "theirs"
    records = await yard.carry(rows(5), download_to=out, save=yard.fleet.save)
    assert Counter(record.state for record in records) == {JobState.DOWNLOADED: 5}
    saved = [file for record in records for file in record.files]
    assert {Path(file.path) for file in saved} == set(out.glob("*.png"))
    assert all(Path(file.path).stat().st_size == file.size for file in saved)


async def test_what_workers_could_not_save_the_next_run_saves(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.01)
    out = yard.folder / "theirs"
    out.write_text("in the way")
    (record,) = await yard.carry(rows(1), download_to=out, save=yard.fleet.save)
    assert (record.state, record.error_code) == (JobState.SUCCEEDED, "DownloadError")
    out.unlink()
    (record,) = await yard.carry(download_to=out, save=yard.fleet.save)
    assert record.state is JobState.DOWNLOADED
    assert yard.sandbox.received.purchases == 1


async def test_failed_jobs_are_failed_rows(yard: Yard) -> None:
    (record,) = await yard.carry(rows(1, prompt="[fail]"))
    assert record.state is JobState.FAILED
    assert record.error


async def test_what_the_service_refuses_ends_one_row_or_the_buying(yard: Yard) -> None:
    yard.sandbox.faults.add(route=SUBMIT, nth=1, status=422, code="validation_failed")
    yard.sandbox.faults.add(route=SUBMIT, status=402, code="insufficient_credits")
    async with Batch.open(yard.folder / "kites.journal") as batch:
        await batch.add(rows(5))
        async for _ in batch.run(yard.fleet, max_in_flight=1, patience=0.0):
            pass
        assert isinstance(batch.halted, InsufficientCredits)
        assert batch.counts == Counter({JobState.DEAD: 1, JobState.PLANNED: 4})
    yard.sandbox.faults.clear()
    records = await yard.carry()
    assert Counter(record.state for record in records) == {JobState.SUCCEEDED: 4}, "refused orders are carried again"


async def test_a_run_that_is_stopped_buys_nothing_more_and_the_next_goes_on(yard: Yard) -> None:
    yard.sandbox.faults.add(route=SUBMIT, delay=0.05)
    async with Batch.open(yard.folder / "kites.journal") as batch:
        await batch.add(rows(30))
        seen = 0
        async for _ in batch.run(yard.fleet, max_in_flight=5):
            seen += 1
            if seen == 3:
                yard.fleet.stop()
                batch.stop()
    async with Batch.open(yard.folder / "kites.journal") as batch:
        assert not batch.counts[JobState.INTENT], "what was withdrawn holds no credits"
    bought = yard.sandbox.received.purchases
    assert bought < 30
    await asyncio.sleep(0.2)
    assert yard.sandbox.received.purchases == bought, "what is in the queue is not bought behind our back"
    yard.sandbox.faults.clear()
    async with Fleet(yard.worker, yard.session) as fleet:
        yard.fleet = fleet
        await yard.carry()
    async with Batch.open(yard.folder / "kites.journal") as batch:
        assert batch.counts == Counter({JobState.SUCCEEDED: 30})
    assert yard.sandbox.received.purchases == 30


async def test_a_cancelled_order_is_withdrawn(yard: Yard) -> None:
    yard.worker.drain()  # nobody takes it
    request = GenerationRequest("z-image", "A kite")
    submitting = asyncio.create_task(yard.fleet.submit(request, idempotency_key="kite-1"))
    while (await yard.worker.read(["kite-1"])) == [None]:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.01)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    (record,) = await yard.worker.read(["kite-1"])
    assert record is not None
    assert record.state is JobState.WITHDRAWN
    assert yard.sandbox.received.purchases == 0


async def test_a_job_of_one_process_is_waited_for_by_workers(yard: Yard) -> None:
    bought = await yard.session.submit("z-image", "A kite")
    assert (await yard.fleet.wait_for(bought)).succeeded
    failing = await yard.session.submit("z-image", "[fail]")
    with pytest.raises(GenerationFailed):
        await yard.fleet.wait_for(failing.id)


async def test_an_order_that_the_store_has_lost_is_enqueued_again(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.fleet.SWEEP", 0.05)
    forgotten: list[Any] = []
    read = yard.worker.store.read

    async def forgetful(keys: Any) -> Any:
        if "kite-1" in keys and len(forgotten) < 3:
            forgotten.append(keys)
            return [None for _ in keys]
        return await read(keys)

    monkeypatch.setattr(yard.worker.store, "read", forgetful)
    bought = await yard.fleet.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    assert yard.sandbox.received.purchases_by_key == {"kite-1": 1}
    assert bought.id in yard.sandbox.world.tasks


async def test_a_job_whose_record_was_lost_after_it_was_bought_is_waited_for(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.workers.fleet.SWEEP", 0.05)
    bought = await yard.fleet.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    read = yard.worker.store.read

    async def forgetful(keys: Any) -> Any:
        return [None if key == "kite-1" else record for key, record in zip(keys, await read(keys), strict=True)]

    monkeypatch.setattr(yard.worker.store, "read", forgetful)
    async with asyncio.timeout(10):
        assert (await yard.fleet.wait_for(bought)).succeeded


async def test_a_store_that_slips_is_looked_at_again(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    look = yard.worker.store.changed_since
    slips: list[float] = []

    async def slipping(moment: float) -> Any:
        if len(slips) < 2:
            slips.append(moment)
            raise ResponseError("OOM command not allowed")
        return await look(moment)

    monkeypatch.setattr(yard.worker.store, "changed_since", slipping)
    async with asyncio.timeout(10):
        bought = await yard.fleet.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
        assert (await yard.fleet.wait_for(bought)).succeeded


async def test_a_full_store_is_told_as_not_sent(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(key: str) -> bool:
        raise ResponseError("OOM command not allowed")

    monkeypatch.setattr(yard.worker, "enlist", full)
    with pytest.raises(NotSent, match="OOM command not allowed"):
        await yard.fleet.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")


async def test_an_order_whose_message_may_be_in_the_queue_is_told_as_unknown(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    kick = yard.worker.broker.kick

    async def lossy(message: Any) -> None:
        await kick(message)
        raise ConnectionError("the answer was lost")

    monkeypatch.setattr(yard.worker.broker, "kick", lossy)
    with pytest.raises(OutcomeUnknown, match="the answer was lost") as caught:
        await yard.fleet.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    assert caught.value.idempotency_key == "kite-1"
    monkeypatch.undo()
    bought = await yard.fleet.submit(GenerationRequest("z-image", "A kite"), idempotency_key="kite-1")
    assert (await yard.fleet.wait_for(bought)).succeeded
    assert yard.sandbox.received.purchases_by_key == {"kite-1": 1}


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"state": JobState.WITHDRAWN}, NotSent),
        ({"error_code": "in_doubt"}, OutcomeUnknown),
        ({"error_code": "insufficient_credits", "status": 402}, InsufficientCredits),
        ({"error_code": "validation_failed", "status": 422}, ValidationFailed),
        ({"error_code": "SpendLimitReached"}, SpendLimitReached),
        ({"error_code": "poison"}, RivyaError),
        ({"error_code": "Answered"}, RivyaError),
        ({}, RivyaError),
    ],
)
def test_a_refusal_is_of_the_class_that_the_worker_met(facts: dict[str, Any], kind: type[RivyaError]) -> None:
    error = refusal(JobRecord(**{"key": "kite-1", "state": JobState.DEAD, "error": "why", **facts}))
    assert type(error) is kind
    assert error.idempotency_key == "kite-1"
