"""Batches against the sandbox, over real sockets: what is bought, what is written down, what is saved."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rivya_async import AuthenticationError, ConfigurationError, InsufficientCreditsError, JournalError, SpendLimitError
from rivya_async.batch import Batch, Row, RowRecord, State
from tests.batch.batch_kit import MODELS, POLL, RESULT, SUBMIT, Bench, bench, rows, until


def states(records: list[RowRecord]) -> Counter[State]:
    return Counter(record.state for record in records)


async def test_every_row_is_bought_once_waited_for_and_saved_whole(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        done = await on.carry(rows(20), download_to=tmp_path / "out")
        assert states(done) == {State.DOWNLOADED: 20}
        assert on.purchases == 20
        assert on.sandbox.spent == 20 == sum(record.credits for record in done)
    for record in done:
        (file,) = record.files
        content = (tmp_path / file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
        assert Path(file.path).name == f"{record.row.identity}.png"
        assert record.duration is not None
        assert record.polls >= 1


async def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(3))
        assert await on.carry(rows(3)) == []
        assert on.purchases == 3


async def test_files_may_be_asked_for_later(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        assert states(await on.carry(rows(3))) == {State.SUCCEEDED: 3}
        assert states(await on.carry(download_to=tmp_path / "out")) == {State.DOWNLOADED: 3}
        assert on.purchases == 3
        assert len(list((tmp_path / "out").iterdir())) == 3


async def test_several_files_of_a_row_have_numbers(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        many = rows(1, model="seedream-4-0", params={"max_images": "3"}, name="kite")
        (done,) = await on.carry(many, download_to=tmp_path / "out")
        assert done.state is State.DOWNLOADED, done.error
    assert {Path(file.path).name for file in done.files} == {path.name for path in (tmp_path / "out").iterdir()}
    assert all(path.name.startswith("kite.") for path in (tmp_path / "out").iterdir())


# --- what is known of rows --------------------------------------------------------------------------------------------


async def test_a_lost_journal_buys_nothing_twice(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        first = await on.carry(rows(5))
        for path in tmp_path.glob("kites.journal*"):
            path.unlink()
        second = await on.carry(rows(5))
        assert on.purchases == 5
        assert {each.task_id for each in first} == {each.task_id for each in second}


async def test_another_batch_id_is_another_purchase(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(2), batch_id="monday")
        on.journal.unlink()
        await on.carry(rows(2), batch_id="tuesday")
        assert on.purchases == 4


async def test_a_row_whose_content_changed_after_its_purchase_is_told_and_not_bought(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(2))
        async with Batch.open(on.journal) as batch:
            planned = await batch.add([*rows(1, prompt="Something else"), *rows(3)[1:]])
        assert (planned.new, planned.known, planned.replaced, planned.conflicting) == (1, 1, 0, 1)
        (conflict,) = planned.conflicts
        assert (conflict.line, conflict.identity, conflict.state) == (2, "row-000001", State.SUCCEEDED)
        await on.carry()
        assert on.purchases == 3
        assert [record.row.prompt for record in await on.records()] == ["Kite 1", "Kite 2", "Kite 3"]


async def test_a_row_that_was_only_planned_takes_its_new_content(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        async with Batch.open(on.journal) as batch:
            await batch.add(rows(1))
            assert (await batch.add(rows(1, prompt="Better"))).replaced == 1
        (done,) = await on.carry()
        assert done.row.prompt == "Better"


async def test_names_that_differ_in_case_only_are_one_row(tmp_path: Path) -> None:
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch:
        await batch.add(rows(1, name="Kite"))
        assert (await batch.add(rows(1, name="kite"))).known == 1


async def test_rows_are_taken_all_or_none(tmp_path: Path) -> None:
    def broken() -> Any:
        yield from rows(3)
        raise RuntimeError("line 5 is no row")

    async with bench(tmp_path) as on:
        async with Batch.open(on.journal) as batch:
            with pytest.raises(RuntimeError, match="line 5"):
                await batch.add(broken())
        assert await on.records() == []


async def test_a_cancelled_adding_ends_at_once_and_takes_none(tmp_path: Path) -> None:
    read = 0

    def endless() -> Iterator[Row]:
        nonlocal read
        for read in itertools.count(1):
            yield Row(number=read, line=read, model="z-image", prompt="A kite")

    async with Batch.open(tmp_path / "kites.journal") as batch:
        adding = asyncio.create_task(batch.add(endless()))
        await until(lambda: read > 100)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert [record async for record in batch.records()] == []
        assert batch.counts == {}
        await batch.add(rows(2))
        assert batch.counts == {State.PLANNED: 2}


def test_references_may_be_paths_and_are_never_one_text(tmp_path: Path) -> None:
    (row,) = rows(1, references=[Path("a.png"), "https://rivya.ai/f/1.png"])
    assert row.references == ("a.png", "https://rivya.ai/f/1.png")
    for wrong in ("a.png", [1], None):
        with pytest.raises(ConfigurationError, match="must be a list of paths or URLs"):
            rows(1, references=wrong)


@pytest.mark.parametrize("value", [{1, 2}, float("inf"), object()])
async def test_what_cannot_travel_is_refused_as_it_is_added(tmp_path: Path, value: Any) -> None:
    async with Batch.open(tmp_path / "kites.journal") as batch:
        with pytest.raises(ConfigurationError, match="JSON"):
            await batch.add(rows(1, params={"seed": value}))


# --- rows that cannot be bought ---------------------------------------------------------------------------------------


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
async def test_a_row_that_cannot_be_bought_is_given_up_with_its_reason(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    async with bench(tmp_path) as on:
        done = await on.carry([*rows(1, **changes), *rows(2)[1:]])
        dead = next(record for record in done if record.state is State.DEAD)
        assert (dead.error_code, dead.body) == ("invalid", None)
        assert why in (dead.error or "")
        assert states(done) == {State.DEAD: 1, State.SUCCEEDED: 1}
        assert on.purchases == 1


async def test_a_row_that_the_service_refuses_is_given_up_and_may_be_tried_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, nth=1, status=422, code="validation_failed")
        (dead,) = await on.carry(rows(1))
        assert (dead.state, dead.error_code, dead.credits) == (State.DEAD, "validation_failed", 0)
        async with Batch.open(on.journal) as batch:
            assert await batch.retry() == 1
        (done,) = await on.carry()
        assert (done.state, done.purchase, done.error) == (State.SUCCEEDED, 1, None)


async def test_a_dead_row_may_be_mended_in_the_manifest(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(1, model="z-imgae"))
        (done,) = await on.carry(rows(1))
        assert (done.state, done.error) == (State.SUCCEEDED, None)


# --- what the service does --------------------------------------------------------------------------------------------


async def test_failed_jobs_are_bought_again_only_when_asked_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        broken = rows(2, prompt="A kite [fail]")
        done = await on.carry(broken)
        assert states(done) == {State.FAILED: 2}
        assert all(record.error and record.error_code for record in done)
        assert on.purchases == 2
        again = await on.carry(retry_failed=2)
        assert [record.purchase for record in again] == [3, 3]
        assert on.purchases == 6
        assert len({request.idempotency_key for request in on.sandbox.received if request.route == SUBMIT}) == 6
        assert await on.carry(retry_failed=2) == []


async def test_a_failed_job_is_bought_again_by_one_alone(tmp_path: Path) -> None:
    """More of them than are read at once, while the catalogue is on its way."""
    async with bench(tmp_path) as on:
        await on.carry(rows(502, prompt="A kite [fail]"), max_in_flight=600)
        on.sandbox.faults.add(route=MODELS, delay=0.3, act=True)
        again = await on.carry(retry_failed=1, max_in_flight=2000)
        assert sorted(record.row.number for record in again) == list(range(1, 503))


async def test_a_failed_job_that_cannot_be_bought_again_stays_failed_with_its_reason(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        (failed,) = await on.carry(rows(1, prompt="A kite [fail]"))
        (left,) = await on.carry(retry_failed=1, max_spend=0)
        assert left == failed
        on.sandbox.faults.add(route=MODELS, status=503)
        (left,) = await on.carry(retry_failed=1)
        assert left == failed
        assert await on.carry() == []
        assert on.purchases == 1


async def test_a_purchase_after_a_doubt_is_in_no_doubt_itself(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), drop=True, act=True)
        on.sandbox.faults.add(route=SUBMIT, nth=5, status=404, code="not_found")
        await on.carry(rows(1, prompt="A kite [fail]"))
        (dead,) = await on.carry(retry_failed=1)
        assert (dead.state, dead.error_code, dead.purchase) == (State.DEAD, "not_found", 2)


async def test_a_purchase_in_doubt_is_repeated_under_its_key(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), drop=True, act=True)
        (left,) = await on.carry(rows(1))
        assert (left.state, left.task_id) == (State.INTENT, None)
        assert left.credits == 1, "it may have been bought"
        (done,) = await on.carry()
        assert (done.state, done.key, done.purchase) == (State.SUCCEEDED, left.key, 1)
        assert on.purchases == 1
        assert {request.idempotency_key for request in on.sandbox.received if request.route == SUBMIT} == {left.key}


async def test_a_first_send_that_still_runs_is_waited_for_not_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, nth=1, drop=True, act=True)
        on.sandbox.faults.add(route=SUBMIT, nth=(2, 3), status=409, code="idempotency_conflict")
        (left,) = await on.carry(rows(1))
        assert left.state is State.INTENT
        (done,) = await on.carry()
        assert done.state is State.SUCCEEDED
        assert on.purchases == 1


async def test_a_key_that_bought_something_else_is_told_and_nothing_is_bought(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, nth=1, status=409, code="idempotency_conflict")
        (dead,) = await on.carry(rows(1))
        assert (dead.state, dead.error_code) == (State.DEAD, "idempotency_conflict")


async def test_a_doubt_that_outlives_the_services_memory_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, drop=True, act=True)
        await on.carry(rows(1))
        on.sandbox.faults.clear()
        sent = len(on.sandbox.received)
        monkeypatch.setattr("rivya_async._core.assumptions.IDEMPOTENCY_KEY_LIFETIME", 0.0)
        (dead,) = await on.carry()
        assert (dead.state, dead.error_code) == (State.DEAD, "in_doubt")
        assert not [each for each in list(on.sandbox.received)[sent:] if each.route == SUBMIT]
        monkeypatch.undo()
        async with Batch.open(on.journal) as batch:
            await batch.retry()
        (done,) = await on.carry()
        assert (done.state, done.purchase) == (State.SUCCEEDED, 2)
        assert done.credits == 2, "what may have been bought before is counted"


async def test_nothing_is_sent_under_a_key_that_is_about_to_be_forgotten(tmp_path: Path) -> None:
    """The call may have to be repeated, and come through when the key is forgotten: that would be another purchase."""
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, drop=True, act=True)
        (left,) = await on.carry(rows(1))
        on.sandbox.faults.clear()
        async with Batch.open(on.journal) as batch:
            batch._journal.note(left, intent_at=(left.intent_at or 0.0) - 24 * 3600 + 60)
        (dead,) = await on.carry()
        assert (dead.state, dead.error_code, on.purchases) == (State.DEAD, "in_doubt", 1)


async def test_a_row_is_tried_while_the_service_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.batch.worker.FIRST_PAUSE", 0.01)
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, times=10, status=503)
        (done,) = await on.carry(rows(1), patience=60.0)
        assert done.state is State.SUCCEEDED
        assert on.purchases == 1


async def test_a_job_that_the_service_forgot_is_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=POLL, status=404, code="not_found")
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(rows(1))
            batch._journal.note(
                (await anext(batch.records())), state=State.SUBMITTED, task_id="task_gone", reserved_credits=1
            )
            await batch._journal.written()
            (dead,) = [record async for record in batch.run(session, patience=0.0)]
        assert (dead.state, dead.error_code, dead.credits) == (State.DEAD, "not_found", 1)


async def test_a_job_that_a_replica_does_not_know_yet_is_not_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path, speed=0.1) as on:
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(rows(1))
            run = batch.run(session)
            reading = asyncio.create_task(anext(run, None))
            await until(lambda: batch.counts[State.SUBMITTED] == 1)
            batch.stop()
            await reading
            await run.aclose()
        on.clock.ahead = 3600.0
        on.sandbox.faults.add(route=POLL, times=1, status=404, code="not_found")
        (left,) = await on.carry()
        assert (left.state, left.error_code) == (State.SUBMITTED, "not_found")
        (done,) = await on.carry()
        assert (done.state, done.error) == (State.SUCCEEDED, None)


async def test_a_success_without_files_is_given_up_not_asked_for_in_every_run(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, members={"status": "succeeded", "result": {"urls": []}})
        on.sandbox.faults.add(route=POLL, members={"status": "succeeded", "result": {"urls": []}})
        (dead,) = await on.carry(rows(1), download_to=tmp_path / "out")
        assert (dead.state, dead.error_code) == (State.DEAD, "no_files")


# --- what ends the buying ---------------------------------------------------------------------------------------------


async def halted(on: Bench, count: int, **options: Any) -> tuple[Exception | None, Counter[State]]:
    async with Batch.open(on.journal) as batch, on.session() as session:
        await batch.add(rows(count))
        async for _ in batch.run(session, patience=0.0, max_in_flight=5, **options):
            pass
        return batch.halted, batch.counts


async def test_max_spend_holds_over_all_runs(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        error, counts = await halted(on, 10, max_spend=4)
        assert isinstance(error, SpendLimitError)
        assert counts == {State.SUCCEEDED: 4, State.PLANNED: 6}
        assert (await halted(on, 10, max_spend=6))[1] == {State.SUCCEEDED: 6, State.PLANNED: 4}
        assert (await halted(on, 10))[0] is None
        assert on.purchases == 10


async def test_the_cap_of_a_session_leaves_no_doubt(tmp_path: Path) -> None:
    async with bench(tmp_path) as on, on.session(max_spend=2) as session, Batch.open(on.journal) as batch:
        await batch.add(rows(5))
        async for _ in batch.run(session):
            pass
        assert isinstance(batch.halted, SpendLimitError)
        assert batch.counts == {State.SUCCEEDED: 2, State.PLANNED: 3}


async def test_without_credits_nothing_more_is_tried(tmp_path: Path) -> None:
    async with bench(tmp_path, credits=3) as on:
        error, counts = await halted(on, 50)
        assert isinstance(error, InsufficientCreditsError)
        assert counts == {State.SUCCEEDED: 3, State.PLANNED: 47}
        assert on.sandbox.received.count(SUBMIT) < 15


async def test_a_bad_key_gives_up_no_row(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.revoke_key(on.sandbox.api_key)
        error, counts = await halted(on, 10)
        assert isinstance(error, AuthenticationError)
        assert counts == {State.PLANNED: 10}


async def test_a_closed_session_gives_up_no_row(tmp_path: Path) -> None:
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch:
        await batch.add(rows(5))
        session = on.session()
        await session.aclose()
        async for _ in batch.run(session):
            pass
        assert isinstance(batch.halted, ConfigurationError)
        assert batch.counts == {State.PLANNED: 5}


async def test_what_was_bought_of_a_sandbox_is_not_taken_for_bought(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        async with Batch.open(on.journal) as batch, on.session(base_url="https://rivya.ai.invalid") as elsewhere:
            await batch.add(rows(2))
            _ = [record async for record in batch.run(elsewhere, patience=0.0)]
            assert batch.counts == {State.PLANNED: 2}, "nothing was bought: another service may have it"
        await on.carry()
        async with Batch.open(on.journal) as batch, on.session(base_url="https://rivya.ai.invalid") as elsewhere:
            await batch.add(rows(3))
            with pytest.raises(ConfigurationError, match=r"were bought at http://127.0.0.1:\d+, and https://rivya.ai"):
                await anext(batch.run(elsewhere))
            assert batch.counts == {State.SUCCEEDED: 2, State.PLANNED: 1}
        await on.carry()
        assert on.purchases == 3


# --- stopping ---------------------------------------------------------------------------------------------------------


async def test_a_stop_buys_nothing_more_and_leaves_what_is_open_to_the_next_run(tmp_path: Path) -> None:
    async with bench(tmp_path, speed=0.1) as on:
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(rows(20))
            run = batch.run(session, max_in_flight=8)
            reading = asyncio.create_task(anext(run, None))
            await until(lambda: batch.counts[State.SUBMITTED] == 8)
            batch.stop()
            assert await reading is not None
            assert [record.state async for record in run] == [State.SUBMITTED] * 7
            assert batch.counts == {State.SUBMITTED: 8, State.PLANNED: 12}
        on.clock.ahead, on.sandbox.world.speed = 3600.0, 5000.0
        await on.carry(max_in_flight=30)
        assert on.purchases == 20


async def test_the_answer_to_a_purchase_is_waited_for_after_a_stop(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, delay=0.2, act=True)
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(rows(1))
            run = batch.run(session)
            reading = asyncio.create_task(anext(run))
            await until(lambda: on.sandbox.received.count(SUBMIT) == 1)
            batch.stop()
            record = await reading
            assert record.state is State.SUBMITTED
            assert record.task_id is not None
            await run.aclose()


@pytest.mark.parametrize("route", [MODELS, SUBMIT])
async def test_a_purchase_that_is_not_on_its_way_is_not_made_after_a_stop(
    tmp_path: Path, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the catalogue is read, and while the intents are written."""
    monkeypatch.setattr("rivya_async.batch.writer.MOMENT", 0.1)
    async with bench(tmp_path) as on:
        if route == MODELS:
            on.sandbox.faults.add(route=MODELS, delay=0.2, act=True)
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(rows(5))
            run = batch.run(session)
            reading = asyncio.create_task(anext(run, None))
            await until(lambda: on.sandbox.received.count(MODELS) == 1)
            if route == SUBMIT:
                await until(lambda: batch.counts[State.INTENT] == 5)
            batch.stop()
            await reading
            left = [record async for record in run]
            assert batch.counts == {State.PLANNED: 5}
            assert batch.credits == 0
            assert len(left) == 4
        assert on.purchases == 0
        await on.carry()
        assert on.purchases == 5


async def test_what_never_left_this_machine_is_in_no_doubt(tmp_path: Path) -> None:
    """However late the next run is: the service need remember no key."""
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, status=429)
        (left,) = await on.carry(rows(1))
        assert (left.state, left.credits, left.error_code) == (State.PLANNED, 0, "rate_limited")
        on.sandbox.faults.clear()
        (done,) = await on.carry()
        assert (done.state, done.purchase, done.error) == (State.SUCCEEDED, 1, None)


async def test_a_session_that_is_closed_before_a_purchase_leaves_no_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rivya_async.batch.writer.MOMENT", 0.1)
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch, on.session() as session:
        await batch.add(rows(1))
        run = batch.run(session)
        reading = asyncio.create_task(anext(run))
        await until(lambda: batch.counts[State.INTENT] == 1)
        await session.aclose()
        assert ((await reading).state, on.purchases) == (State.PLANNED, 0)
        await run.aclose()
        assert isinstance(batch.halted, ConfigurationError)


async def test_leaving_the_loop_loses_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(rows(30))
            run = batch.run(session, max_in_flight=10)
            await anext(run)
            await run.aclose()
        done = await on.carry()
        assert states(list(await on.records())) == {State.SUCCEEDED: 30}
        assert len(done) < 30
        assert on.purchases == 30


# --- the journal itself -----------------------------------------------------------------------------------------------


async def test_one_process_has_the_journal(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        async with Batch.open(on.journal):
            with pytest.raises(JournalError, match="another process works with"):
                Batch.open(on.journal)
        await Batch.open(on.journal).aclose()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be looked at" * 20, b"SQLite format 3\0"]
)
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kites.journal"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(JournalError, match="no journal"):
            Batch.open(path)
    assert path.read_bytes() == content


async def test_the_journal_of_another_batch_is_refused(tmp_path: Path) -> None:
    await Batch.open(tmp_path / "a.journal", id="monday").aclose()
    with pytest.raises(ConfigurationError, match="the batch 'monday'"):
        Batch.open(tmp_path / "a.journal", id="tuesday")
    batch = Batch.open(tmp_path / "a.journal")
    assert batch.id == "monday"
    await batch.aclose()


async def test_a_running_batch_takes_no_rows_and_no_second_run(tmp_path: Path) -> None:
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch, on.session() as session:
        await batch.add(rows(3))
        run = batch.run(session)
        await anext(run)
        with pytest.raises(ConfigurationError, match="running"):
            await batch.add(rows(4))
        with pytest.raises(ConfigurationError, match="running"):
            await anext(batch.run(session))
        await run.aclose()


@pytest.mark.parametrize(
    "options", [{"max_in_flight": 0}, {"retry_failed": -1}, {"max_spend": -1}, {"max_in_flight": True}]
)
async def test_wrong_options_are_told_before_anything_is_done(tmp_path: Path, options: dict[str, Any]) -> None:
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch, on.session() as session:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            batch.run(session, **options)


async def test_a_file_that_breaks_off_is_saved_by_the_next_run(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=RESULT, times=3, status=500)
        (left,) = await on.carry(rows(1), download_to=tmp_path / "out")
        assert left.state is State.SUCCEEDED
        assert left.error
        assert not list((tmp_path / "out").glob("*"))
        (done,) = await on.carry(download_to=tmp_path / "out")
        assert (done.state, done.error) == (State.DOWNLOADED, None)
        assert on.purchases == 1


async def test_a_file_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "row-000001.png").write_bytes(b"mine")
    async with bench(tmp_path) as on:
        done = await on.carry(rows(2), download_to=out)
        assert states(done) == {State.SUCCEEDED: 1, State.DOWNLOADED: 1}
        left = next(record for record in done if record.state is State.SUCCEEDED)
        assert "is another file" in (left.error or "")
        assert (out / "row-000001.png").read_bytes() == b"mine"
        (out / "row-000001.png").rename(out / "mine.png")
        assert states(await on.carry(download_to=out)) == {State.DOWNLOADED: 1}
        assert on.purchases == 2
    assert sorted(path.name for path in out.iterdir()) == ["mine.png", "row-000001.png", "row-000002.png"]


async def test_two_batches_in_one_folder_do_not_take_each_others_names(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(2), download_to=tmp_path / "out")
        on.journal.rename(tmp_path / "monday.journal")
        done = await on.carry(rows(2, prompt="Another"), batch_id="tuesday", download_to=tmp_path / "out")
        assert states(done) == {State.SUCCEEDED: 2}
        assert states(await on.carry(download_to=tmp_path / "tuesday")) == {State.DOWNLOADED: 2}


@pytest.mark.parametrize("name", ["a/b", "", "row-000007", "con"])
async def test_a_row_of_a_bad_name_cannot_be_made(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        rows(1, name=name)


async def test_another_purchase_of_a_row_has_no_doubts_of_the_one_before(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), drop=True, act=True)
        await on.carry(rows(1, prompt="A kite [fail]"))
        on.sandbox.faults.add(route=SUBMIT, nth=2, status=409, code="idempotency_conflict")
        (dead,) = await on.carry(retry_failed=1)
        assert (dead.state, dead.purchase, dead.error_code) == (State.DEAD, 2, "idempotency_conflict")
