"""Batches against the sandbox over real sockets: purchases, the journal, and saved files."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rivya_async import (
    AuthenticationError,
    ConfigurationError,
    InsufficientCreditsError,
    JournalError,
    SessionClosedError,
    SpendLimitError,
)
from rivya_async.batch import Batch, JobState, Row, RowRecord
from tests.batch.kit import MODELS, POLL, RESULT, SUBMIT, BatchEnvironment, batch_environment, make_rows, wait_until


def states(records: list[RowRecord]) -> Counter[JobState]:
    return Counter(record.state for record in records)


async def test_purchases_and_saves_every_row_once(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        done = await env.run(make_rows(20), download_to=tmp_path / "out")
        assert states(done) == {JobState.DOWNLOADED: 20}
        assert env.purchases == 20
        assert env.sandbox.spent == 20 == sum(record.credits for record in done)
    for record in done:
        (file,) = record.files
        content = (tmp_path / file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
        assert Path(file.path).name == f"{record.row.identity}.png"
        assert record.duration is not None
        assert record.polls >= 1


async def test_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(3))
        assert await env.run(make_rows(3)) == []
        assert env.purchases == 3


async def test_downloads_in_a_later_run(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        assert states(await env.run(make_rows(3))) == {JobState.SUCCEEDED: 3}
        assert states(await env.run(download_to=tmp_path / "out")) == {JobState.DOWNLOADED: 3}
        assert env.purchases == 3
        assert len(list((tmp_path / "out").iterdir())) == 3


async def test_numbers_several_files_of_a_row(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        many = make_rows(1, model="seedream-4-0", params={"max_images": "3"}, name="kite")
        (done,) = await env.run(many, download_to=tmp_path / "out")
        assert done.state is JobState.DOWNLOADED, done.error
    assert {Path(file.path).name for file in done.files} == {path.name for path in (tmp_path / "out").iterdir()}
    assert all(path.name.startswith("kite.") for path in (tmp_path / "out").iterdir())


# --- known rows -------------------------------------------------------------------------------------------------------


async def test_lost_journal_purchases_nothing_twice(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        first = await env.run(make_rows(5))
        for path in tmp_path.glob("kites.journal*"):
            path.unlink()
        second = await env.run(make_rows(5))
        assert env.purchases == 5
        assert {each.task_id for each in first} == {each.task_id for each in second}


async def test_other_batch_id_purchases_again(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(2), batch_id="monday")
        env.journal.unlink()
        await env.run(make_rows(2), batch_id="tuesday")
        assert env.purchases == 4


async def test_content_changed_after_purchase_is_a_conflict(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(2))
        async with Batch.open(env.journal) as batch:
            result = await batch.add([*make_rows(1, prompt="Something else"), *make_rows(3)[1:]])
        assert (result.new, result.known, result.replaced, result.conflicting) == (1, 1, 0, 1)
        (conflict,) = result.conflicts
        assert (conflict.line, conflict.identity, conflict.state) == (2, "row-000001", JobState.SUCCEEDED)
        await env.run()
        assert env.purchases == 3
        assert [record.row.prompt for record in await env.records()] == ["Kite 1", "Kite 2", "Kite 3"]


async def test_planned_row_takes_new_content(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal) as batch:
            await batch.add(make_rows(1))
            assert (await batch.add(make_rows(1, prompt="Better"))).replaced == 1
        (done,) = await env.run()
        assert done.row.prompt == "Better"


async def test_names_that_differ_in_case_are_one_row(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch:
        await batch.add(make_rows(1, name="Kite"))
        assert (await batch.add(make_rows(1, name="kite"))).known == 1


async def test_adds_all_rows_or_none(tmp_path: Path) -> None:
    def failing_rows() -> Any:
        yield from make_rows(3)
        raise RuntimeError("line 5 is no row")

    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal) as batch:
            with pytest.raises(RuntimeError, match="line 5"):
                await batch.add(failing_rows())
        assert await env.records() == []


async def test_cancelled_add_stops_and_adds_none(tmp_path: Path) -> None:
    read = 0

    def endless_rows() -> Iterator[Row]:
        nonlocal read
        for read in itertools.count(1):
            yield Row(number=read, line=read, model="z-image", prompt="A kite")

    async with Batch.open(tmp_path / "kites.journal") as batch:
        adding = asyncio.create_task(batch.add(endless_rows()))
        await wait_until(lambda: read > 100)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert [record async for record in batch.records()] == []
        assert batch.counts == {}
        await batch.add(make_rows(2))
        assert batch.counts == {JobState.PLANNED: 2}


def test_references_are_a_list_of_paths_or_urls(tmp_path: Path) -> None:
    (row,) = make_rows(1, references=[Path("a.png"), "https://rivya.ai/f/1.png"])
    assert row.references == ("a.png", "https://rivya.ai/f/1.png")
    for wrong in ("a.png", [1], None):
        with pytest.raises(ConfigurationError, match="must be a list of paths or URLs"):
            make_rows(1, references=wrong)


@pytest.mark.parametrize("value", [{1, 2}, float("inf"), object()])
async def test_add_rejects_values_that_are_not_json(tmp_path: Path, value: Any) -> None:
    async with Batch.open(tmp_path / "kites.journal") as batch:
        with pytest.raises(ConfigurationError, match="JSON"):
            await batch.add(make_rows(1, params={"seed": value}))


# --- invalid rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "z-imgae"}, "did you mean 'z-image'"),
        ({"params": {"aspectratio": "1:1"}}, "aspect_ratio"),
        ({"prompt": None}, "prompt"),
        ({"model": "gpt-image-2", "references": ["nowhere.png"]}, "nowhere.png"),
        ({"references": ["https://rivya.ai/f/1"]}, "ending"),
    ],
)
async def test_invalid_row_is_dead_with_its_reason(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    async with batch_environment(tmp_path) as env:
        done = await env.run([*make_rows(1, **changes), *make_rows(2)[1:]])
        dead = next(record for record in done if record.state is JobState.DEAD)
        assert (dead.error_type, dead.body) == ("InvalidJobError", None)
        assert why in (dead.error or "")
        assert states(done) == {JobState.DEAD: 1, JobState.SUCCEEDED: 1}
        assert env.purchases == 1


async def test_rejected_row_is_given_up_and_can_be_retried(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, nth=1, status=422, code="validation_failed")
        (dead,) = await env.run(make_rows(1))
        assert (dead.state, dead.error_code, dead.credits) == (JobState.DEAD, "validation_failed", 0)
        async with Batch.open(env.journal) as batch:
            assert await batch.retry() == 1
        (done,) = await env.run()
        assert (done.state, done.purchase, done.error) == (JobState.SUCCEEDED, 1, None)


async def test_dead_row_can_be_corrected_in_the_manifest(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(1, model="z-imgae"))
        (done,) = await env.run(make_rows(1))
        assert (done.state, done.error) == (JobState.SUCCEEDED, None)


# --- errors of the service --------------------------------------------------------------------------------------------


async def test_failed_jobs_are_purchased_again_only_with_retry_failed(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        failing = make_rows(2, prompt="A kite [fail]")
        done = await env.run(failing)
        assert states(done) == {JobState.FAILED: 2}
        assert all(record.error and record.error_type for record in done)
        assert env.purchases == 2
        retried = await env.run(retry_failed=2)
        assert [record.purchase for record in retried] == [3, 3]
        assert env.purchases == 6
        assert len({request.idempotency_key for request in env.sandbox.request_log if request.route == SUBMIT}) == 6
        assert await env.run(retry_failed=2) == []


async def test_failed_job_is_retried_by_one_task_only(tmp_path: Path) -> None:
    """More rows than a page holds, while the catalogue is being fetched."""
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(502, prompt="A kite [fail]"), max_in_flight=600)
        env.sandbox.faults.add(route=MODELS, delay=0.3, act=True)
        retried = await env.run(retry_failed=1, max_in_flight=2000)
        assert sorted(record.row.number for record in retried) == list(range(1, 503))


async def test_row_in_progress_that_fails_is_retried_by_one_task_only(tmp_path: Path) -> None:
    async with batch_environment(tmp_path, speed=200) as env:
        env.sandbox.faults.add(route=SUBMIT, times=6, drop=True, act=True)
        fails, lasts = Row(number=1, line=2, model="z-image", prompt="A kite [fail]"), make_rows(2, model="sora-2")[1]
        assert states(await env.run([fails, lasts])) == {JobState.INTENT: 2}
        env.sandbox.faults.add(route=MODELS, delay=1.5, act=True)  # the failed row waits, and the other one ends
        async with Batch.open(env.journal) as batch, env.session() as session:
            done = [record async for record in batch.run(session, retry_failed=1, max_in_flight=2)]
            assert sorted(record.row.number for record in done) == [1, 2]
            assert batch.credits == sum([record.credits async for record in batch.records()])


async def test_failed_job_keeps_its_reason_if_the_retry_is_not_purchased(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        (failed,) = await env.run(make_rows(1, prompt="A kite [fail]"))
        (left,) = await env.run(retry_failed=1, max_spend=0)
        assert left == failed
        env.sandbox.faults.add(route=MODELS, status=503)
        (left,) = await env.run(retry_failed=1)
        assert left == failed
        assert await env.run() == []
        assert env.purchases == 1


async def test_purchase_in_doubt_does_not_affect_the_next_purchase(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), drop=True, act=True)
        env.sandbox.faults.add(route=SUBMIT, nth=5, status=404, code="not_found")
        await env.run(make_rows(1, prompt="A kite [fail]"))
        (dead,) = await env.run(retry_failed=1)
        assert (dead.state, dead.error_code, dead.purchase) == (JobState.DEAD, "not_found", 2)


async def test_repeats_purchase_in_doubt_under_its_key(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), drop=True, act=True)
        (left,) = await env.run(make_rows(1))
        assert (left.state, left.task_id) == (JobState.INTENT, None)
        assert left.credits == 1, "it may have been bought"
        (done,) = await env.run()
        assert (done.state, done.key, done.purchase) == (JobState.SUCCEEDED, left.key, 1)
        assert env.purchases == 1
        assert {request.idempotency_key for request in env.sandbox.request_log if request.route == SUBMIT} == {left.key}


async def test_conflict_with_own_first_attempt_is_retried(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, nth=1, drop=True, act=True)
        env.sandbox.faults.add(route=SUBMIT, nth=(2, 3), status=409, code="idempotency_conflict")
        (left,) = await env.run(make_rows(1))
        assert left.state is JobState.INTENT
        (done,) = await env.run()
        assert done.state is JobState.SUCCEEDED
        assert env.purchases == 1


async def test_key_of_another_purchase_is_given_up(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, nth=1, status=409, code="idempotency_conflict")
        (dead,) = await env.run(make_rows(1))
        assert (dead.state, dead.error_code) == (JobState.DEAD, "idempotency_conflict")


async def test_purchase_in_doubt_is_given_up_after_the_key_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, drop=True, act=True)
        await env.run(make_rows(1))
        env.sandbox.faults.clear()
        sent = len(env.sandbox.request_log)
        monkeypatch.setattr("rivya_async._core.assumptions.IDEMPOTENCY_KEY_LIFETIME", 0.0)
        (dead,) = await env.run()
        assert (dead.state, dead.error_type) == (JobState.DEAD, "JobInDoubtError")
        assert not [each for each in list(env.sandbox.request_log)[sent:] if each.route == SUBMIT]
        monkeypatch.undo()
        async with Batch.open(env.journal) as batch:
            await batch.retry()
        (done,) = await env.run()
        assert (done.state, done.purchase) == (JobState.SUCCEEDED, 2)
        assert done.credits == 2, "the purchase in doubt is counted"


async def test_sends_nothing_under_a_key_that_expires_soon(tmp_path: Path) -> None:
    """A retry of the call could arrive after the key has expired: that would be a second purchase."""
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, drop=True, act=True)
        (left,) = await env.run(make_rows(1))
        env.sandbox.faults.clear()
        async with Batch.open(env.journal) as batch:
            batch._journal.update(left, intent_at=(left.intent_at or 0.0) - 24 * 3600 + 60)
        (dead,) = await env.run()
        assert (dead.state, dead.error_type, env.purchases) == (JobState.DEAD, "JobInDoubtError", 1)


async def test_retries_purchase_while_service_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.01)
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, times=10, status=503)
        (done,) = await env.run(make_rows(1), retry_timeout=60.0)
        assert done.state is JobState.SUCCEEDED
        assert env.purchases == 1


async def test_job_unknown_to_the_service_is_given_up(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=POLL, status=404, code="not_found")
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(make_rows(1))
            batch._journal.update(
                (await anext(batch.records())), state=JobState.SUBMITTED, task_id="task_gone", reserved_credits=1
            )
            await batch._journal.flush()
            (dead,) = [record async for record in batch.run(session, retry_timeout=0.0)]
        assert (dead.state, dead.error_code, dead.credits) == (JobState.DEAD, "not_found", 1)


async def test_new_job_unknown_to_a_replica_is_not_given_up(tmp_path: Path) -> None:
    async with batch_environment(tmp_path, speed=0.1) as env:
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(make_rows(1))
            run = batch.run(session)
            next_record = asyncio.create_task(anext(run, None))
            await wait_until(lambda: batch.counts[JobState.SUBMITTED] == 1)
            batch.stop()
            await next_record
            await run.aclose()
        env.clock.offset = 3600.0
        env.sandbox.faults.add(route=POLL, times=1, status=404, code="not_found")
        (left,) = await env.run()
        assert (left.state, left.error_code) == (JobState.SUBMITTED, "not_found")
        (done,) = await env.run()
        assert (done.state, done.error) == (JobState.SUCCEEDED, None)


async def test_success_without_files_is_given_up(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, members={"status": "succeeded", "result": {"urls": []}})
        env.sandbox.faults.add(route=POLL, members={"status": "succeeded", "result": {"urls": []}})
        (dead,) = await env.run(make_rows(1), download_to=tmp_path / "out")
        assert (dead.state, dead.error_type) == (JobState.DEAD, "NoFilesError")


# --- ends of purchases ------------------------------------------------------------------------------------------------


async def run_until_halted(
    env: BatchEnvironment, count: int, **options: Any
) -> tuple[Exception | None, Counter[JobState]]:
    async with Batch.open(env.journal) as batch, env.session() as session:
        await batch.add(make_rows(count))
        async for _ in batch.run(session, retry_timeout=0.0, max_in_flight=5, **options):
            pass
        return batch.halted, batch.counts


async def test_max_spend_limits_all_runs(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        error, counts = await run_until_halted(env, 10, max_spend=4)
        assert isinstance(error, SpendLimitError)
        assert counts == {JobState.SUCCEEDED: 4, JobState.PLANNED: 6}
        assert (await run_until_halted(env, 10, max_spend=6))[1] == {JobState.SUCCEEDED: 6, JobState.PLANNED: 4}
        assert (await run_until_halted(env, 10))[0] is None
        assert env.purchases == 10


async def test_a_resumed_batch_knows_the_prices_of_its_earlier_runs(tmp_path: Path) -> None:
    def kling_rows(count: int) -> list[Row]:
        job: dict[str, Any] = {"model": "kling-3-0", "params": {"duration": "10"}}
        return [Row(number=n, line=n, prompt=f"Kite {n}", **job) for n in range(1, count + 1)]

    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal) as batch, env.session(prices={"kling-3-0": 400}) as session:
            await batch.add(kling_rows(1))
            (first,) = [record async for record in batch.run(session, max_spend=1000)]
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(kling_rows(2))
            (second,) = [record async for record in batch.run(session, max_spend=1000)]
        assert (second.state, second.expected_credits) == (JobState.SUCCEEDED, first.final_credits)


async def test_session_max_spend_leaves_no_doubt(tmp_path: Path) -> None:
    async with (
        batch_environment(tmp_path) as env,
        env.session(max_spend=2) as session,
        Batch.open(env.journal) as batch,
    ):
        await batch.add(make_rows(5))
        async for _ in batch.run(session):
            pass
        assert isinstance(batch.halted, SpendLimitError)
        assert batch.counts == {JobState.SUCCEEDED: 2, JobState.PLANNED: 3}


async def test_stops_purchases_without_credits(tmp_path: Path) -> None:
    async with batch_environment(tmp_path, credits=3) as env:
        error, counts = await run_until_halted(env, 50)
        assert isinstance(error, InsufficientCreditsError)
        assert counts == {JobState.SUCCEEDED: 3, JobState.PLANNED: 47}
        assert env.sandbox.request_log.count(SUBMIT) < 15


async def test_invalid_key_gives_up_no_row(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.revoke_key(env.sandbox.api_key)
        error, counts = await run_until_halted(env, 10)
        assert isinstance(error, AuthenticationError)
        assert counts == {JobState.PLANNED: 10}


async def test_closed_session_gives_up_no_row(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch:
        await batch.add(make_rows(5))
        session = env.session()
        await session.aclose()
        async for _ in batch.run(session):
            pass
        assert isinstance(batch.halted, SessionClosedError)
        assert batch.counts == {JobState.PLANNED: 5}


async def test_journal_of_a_sandbox_rejects_the_service(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal) as batch, env.session(base_url="https://rivya.ai.invalid") as elsewhere:
            await batch.add(make_rows(2))
            _ = [record async for record in batch.run(elsewhere, retry_timeout=0.0)]
            assert batch.counts == {JobState.PLANNED: 2}, "nothing was purchased: another service may be used"
        await env.run()
        async with Batch.open(env.journal) as batch, env.session(base_url="https://rivya.ai.invalid") as elsewhere:
            await batch.add(make_rows(3))
            with pytest.raises(ConfigurationError, match=r"were bought at http://127.0.0.1:\d+, and https://rivya.ai"):
                await anext(batch.run(elsewhere))
            assert batch.counts == {JobState.SUCCEEDED: 2, JobState.PLANNED: 1}
        await env.run()
        assert env.purchases == 3


# --- stopping ---------------------------------------------------------------------------------------------------------


async def test_stop_keeps_open_rows_for_the_next_run(tmp_path: Path) -> None:
    async with batch_environment(tmp_path, speed=0.1) as env:
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(make_rows(20))
            run = batch.run(session, max_in_flight=8)
            next_record = asyncio.create_task(anext(run, None))
            await wait_until(lambda: batch.counts[JobState.SUBMITTED] == 8)
            batch.stop()
            assert await next_record is not None
            assert [record.state async for record in run] == [JobState.SUBMITTED] * 7
            assert batch.counts == {JobState.SUBMITTED: 8, JobState.PLANNED: 12}
        env.clock.offset, env.sandbox.service_state.speed = 3600.0, 5000.0
        await env.run(max_in_flight=30)
        assert env.purchases == 20


async def test_stop_waits_for_the_response_to_a_purchase(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, delay=0.2, act=True)
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(make_rows(1))
            run = batch.run(session)
            next_record = asyncio.create_task(anext(run))
            await wait_until(lambda: env.sandbox.request_log.count(SUBMIT) == 1)
            batch.stop()
            record = await next_record
            assert record.state is JobState.SUBMITTED
            assert record.task_id is not None
            await run.aclose()


@pytest.mark.parametrize("route", [MODELS, SUBMIT])
async def test_stop_prevents_purchases_that_are_not_sent(
    tmp_path: Path, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During the fetch of the catalogue, and during the commit of the intents."""
    monkeypatch.setattr("rivya_async.batch.journal.COMMIT_DELAY", 0.1)
    async with batch_environment(tmp_path) as env:
        if route == MODELS:
            env.sandbox.faults.add(route=MODELS, delay=0.2, act=True)
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(make_rows(5))
            run = batch.run(session)
            next_record = asyncio.create_task(anext(run, None))
            await wait_until(lambda: env.sandbox.request_log.count(MODELS) == 1)
            if route == SUBMIT:
                await wait_until(lambda: batch.counts[JobState.INTENT] == 5)
            batch.stop()
            await next_record
            left = [record async for record in run]
            assert batch.counts == {JobState.PLANNED: 5}
            assert batch.credits == 0
            assert len(left) == 4
        assert env.purchases == 0
        await env.run()
        assert env.purchases == 5


async def test_unsent_purchase_leaves_no_doubt(tmp_path: Path) -> None:
    """The next run may be late: no key has to be remembered."""
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, status=429)
        (left,) = await env.run(make_rows(1))
        assert (left.state, left.credits, left.error_code) == (JobState.PLANNED, 0, "rate_limited")
        env.sandbox.faults.clear()
        (done,) = await env.run()
        assert (done.state, done.purchase, done.error) == (JobState.SUCCEEDED, 1, None)


async def test_session_closed_before_the_purchase_leaves_no_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.batch.journal.COMMIT_DELAY", 0.1)
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch, env.session() as session:
        await batch.add(make_rows(1))
        run = batch.run(session)
        next_record = asyncio.create_task(anext(run))
        await wait_until(lambda: batch.counts[JobState.INTENT] == 1)
        await session.aclose()
        assert ((await next_record).state, env.purchases) == (JobState.PLANNED, 0)
        await run.aclose()
        assert isinstance(batch.halted, SessionClosedError)


async def test_leaving_the_loop_loses_nothing(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(make_rows(30))
            run = batch.run(session, max_in_flight=10)
            await anext(run)
            await run.aclose()
        done = await env.run()
        assert states(list(await env.records())) == {JobState.SUCCEEDED: 30}
        assert len(done) < 30
        assert env.purchases == 30


# --- the journal itself -----------------------------------------------------------------------------------------------


async def test_one_process_has_the_journal(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal):
            with pytest.raises(JournalError, match="another process works with"):
                Batch.open(env.journal)
        await Batch.open(env.journal).aclose()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be looked at" * 20, b"SQLite format 3\0"]
)
def test_rejects_a_file_that_is_no_journal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kites.journal"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(JournalError, match="no journal"):
            Batch.open(path)
    assert path.read_bytes() == content


async def test_rejects_the_journal_of_another_batch(tmp_path: Path) -> None:
    await Batch.open(tmp_path / "a.journal", id="monday").aclose()
    with pytest.raises(ConfigurationError, match="the batch 'monday'"):
        Batch.open(tmp_path / "a.journal", id="tuesday")
    batch = Batch.open(tmp_path / "a.journal")
    assert batch.id == "monday"
    await batch.aclose()


async def test_running_batch_rejects_rows_and_a_second_run(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch, env.session() as session:
        await batch.add(make_rows(3))
        run = batch.run(session)
        await anext(run)
        with pytest.raises(ConfigurationError, match="running"):
            await batch.add(make_rows(4))
        with pytest.raises(ConfigurationError, match="running"):
            await anext(batch.run(session))
        await run.aclose()


@pytest.mark.parametrize(
    "options", [{"max_in_flight": 0}, {"retry_failed": -1}, {"max_spend": -1}, {"max_in_flight": True}]
)
async def test_rejects_invalid_options_at_once(tmp_path: Path, options: dict[str, Any]) -> None:
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch, env.session() as session:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            batch.run(session, **options)


async def test_next_run_saves_a_file_that_failed(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=RESULT, times=3, status=500)
        (left,) = await env.run(make_rows(1), download_to=tmp_path / "out")
        assert left.state is JobState.SUCCEEDED
        assert left.error
        assert not list((tmp_path / "out").glob("*"))
        (done,) = await env.run(download_to=tmp_path / "out")
        assert (done.state, done.error) == (JobState.DOWNLOADED, None)
        assert env.purchases == 1


async def test_never_replaces_a_foreign_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "row-000001.png").write_bytes(b"mine")
    async with batch_environment(tmp_path) as env:
        done = await env.run(make_rows(2), download_to=out)
        assert states(done) == {JobState.SUCCEEDED: 1, JobState.DOWNLOADED: 1}
        left = next(record for record in done if record.state is JobState.SUCCEEDED)
        assert "is another file" in (left.error or "")
        assert (out / "row-000001.png").read_bytes() == b"mine"
        (out / "row-000001.png").rename(out / "mine.png")
        assert states(await env.run(download_to=out)) == {JobState.DOWNLOADED: 1}
        assert env.purchases == 2
    assert sorted(path.name for path in out.iterdir()) == ["mine.png", "row-000001.png", "row-000002.png"]


async def test_two_batches_in_one_folder_keep_their_files(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(2), download_to=tmp_path / "out")
        env.journal.rename(tmp_path / "monday.journal")
        done = await env.run(make_rows(2, prompt="Another"), batch_id="tuesday", download_to=tmp_path / "out")
        assert states(done) == {JobState.SUCCEEDED: 2}
        assert states(await env.run(download_to=tmp_path / "tuesday")) == {JobState.DOWNLOADED: 2}


@pytest.mark.parametrize("name", ["a/b", "", "row-000007", "con"])
async def test_row_rejects_an_invalid_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        make_rows(1, name=name)


async def test_second_purchase_is_not_in_doubt(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), drop=True, act=True)
        await env.run(make_rows(1, prompt="A kite [fail]"))
        env.sandbox.faults.add(route=SUBMIT, nth=2, status=409, code="idempotency_conflict")
        (dead,) = await env.run(retry_failed=1)
        assert (dead.state, dead.purchase, dead.error_code) == (JobState.DEAD, 2, "idempotency_conflict")
