"""The journal when somebody closes it, cuts it, locks it or puts odd things into it: nothing hangs, nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rivya_async import JournalError
from rivya_async.batch import Batch, JobState, RowRecord
from rivya_async.batch.reading import read_records
from tests.batch.batch_kit import RESULT, bench, rows, until


async def planned(path: Path) -> tuple[Batch, RowRecord]:
    batch = Batch.open(path)
    await batch.add(rows(1))
    return batch, await anext(batch.records())


def first(path: Path) -> RowRecord:
    return next(read_records(path))


# --- what is closed ---------------------------------------------------------------------------------------------------


async def test_what_is_closed_says_so(tmp_path: Path) -> None:
    batch, _ = await planned(tmp_path / "kites.journal")
    await batch.aclose()
    await batch.aclose()
    for call in (batch.add(rows(1)), batch.retry(), anext(batch.records())):
        with pytest.raises(JournalError, match="is closed"):
            await call


async def test_closing_ends_a_run_whose_loop_was_left(tmp_path: Path) -> None:
    async with bench(tmp_path, speed=1.0) as on, on.session() as session:
        async with Batch.open(on.journal) as batch:
            await batch.add(rows(30))
            run = batch.run(session, max_in_flight=10)
            reading = asyncio.create_task(anext(run))
            await until(lambda: batch.counts[JobState.SUBMITTED] == 10)
            on.clock.ahead, on.sandbox.world.speed = 3600.0, 5000.0
            await reading
        assert not [task for task in asyncio.all_tasks() if "fan_out" in repr(task)], "the rows under way have ended"
        with pytest.raises(JournalError, match="is closed"):
            await anext(run)
        assert on.purchases <= 11
        await on.carry()
        assert on.purchases == 30


@pytest.mark.parametrize("steps", range(6))
async def test_a_loop_that_is_broken_off_may_be_cleaned_up_while_the_batch_is_closed(
    tmp_path: Path, steps: int
) -> None:
    """The event loop closes a generator that nobody holds in a task of its own."""
    async with bench(tmp_path) as on:
        on.sandbox.faults.add(route=RESULT, delay=0.2, nth=range(2, 30), act=True)
        wrong: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        async with on.session() as session, Batch.open(on.journal) as batch:
            await batch.add(rows(20))
            async for _ in batch.run(session, download_to=tmp_path / "out"):
                break
            for _ in range(steps):
                await asyncio.sleep(0)
        await on.carry(download_to=tmp_path / "out")
        assert on.purchases == 20
        assert not wrong


async def test_closing_under_a_run_ends_it_and_nothing_hangs(tmp_path: Path) -> None:
    async with bench(tmp_path, speed=1.0) as on, on.session() as session:
        batch = Batch.open(on.journal)
        await batch.add(rows(5))

        async def carry() -> None:
            async for _ in batch.run(session):
                pass

        carrying = asyncio.create_task(carry())
        await until(lambda: batch.counts[JobState.SUBMITTED] == 5)
        await batch.aclose()
        on.clock.ahead, on.sandbox.world.speed = 3600.0, 5000.0
        async with asyncio.timeout(10):
            with pytest.raises(JournalError, match="is closed"):
                await carrying
        await on.carry()
        assert on.purchases == 5


async def test_a_closing_that_is_cancelled_writes_all_the_same(tmp_path: Path) -> None:
    batch, record = await planned(tmp_path / "kites.journal")
    batch._journal.note(record, error="told")
    closing = asyncio.create_task(batch.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert first(batch.path).error == "told"
    await Batch.open(batch.path).aclose()


# --- what is cut ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [0.0, 0.02])
async def test_a_cut_commit_is_told_and_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: float
) -> None:
    """As at the end of a loop, which cancels every task."""
    monkeypatch.setattr("rivya_async.batch.writer.MOMENT", 0.01)
    batch, record = await planned(tmp_path / "kites.journal")
    batch._journal.note(record, error="told")
    waiting = asyncio.create_task(batch._journal.written())
    await asyncio.sleep(0)
    flusher: Any = batch._journal._writer._flusher
    if moment:
        other = sqlite3.connect(batch.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # the commit waits for it
        await asyncio.sleep(moment)
        flusher.cancel()
        other.close()
    else:
        flusher.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(JournalError, match="not written to the end"):
            await waiting
        await batch.aclose()
    assert first(batch.path).error == "told"


async def test_a_plan_knows_what_was_noted_a_moment_ago(tmp_path: Path) -> None:
    batch, record = await planned(tmp_path / "kites.journal")
    async with batch:
        batch._journal.advance(record, JobState.INTENT, body="{}", expected_credits=1)
        assert (await batch.add(rows(1, prompt="Another"))).conflicting == 1
        assert (batch.counts, batch.credits) == (Counter({JobState.INTENT: 1}), 1)


# --- what it is made to hold ------------------------------------------------------------------------------------------


async def test_odd_words_and_numbers_of_a_service_are_written(tmp_path: Path) -> None:
    batch, record = await planned(tmp_path / "kites.journal")
    async with batch:
        batch._journal.note(record, error="bad \ud800 é", final_credits=10**30, urls=("http://x/\udfff",))
        await batch._journal.written()
    kept = first(batch.path)
    assert (kept.error, kept.final_credits, kept.urls) == ("bad ? é", 2**63 - 1, ("http://x/?",))


# --- where it lies ----------------------------------------------------------------------------------------------------


async def test_a_link_to_a_journal_is_that_journal(tmp_path: Path) -> None:
    (tmp_path / "link.journal").symlink_to(tmp_path / "kites.journal")
    async with Batch.open(tmp_path / "kites.journal"):
        with pytest.raises(JournalError, match="another process works with"):
            Batch.open(tmp_path / "link.journal")


async def test_every_journal_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await Batch.open(":memory:").aclose()
    assert list(read_records(tmp_path / ":memory:")) == []


@pytest.mark.parametrize("name", ["nowhere/kites.journal", "folder", "kites.journal"])
def test_where_no_journal_can_be_the_error_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "kites.journal.lock").write_bytes(b"not a lock of ours" * 100)
    with pytest.raises(JournalError, match="cannot be opened"):
        Batch.open(tmp_path / name)


async def test_who_holds_the_file_for_long_ends_the_run_and_nothing_is_bought(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(rows(3))
            batch._journal._writer._connection.execute("PRAGMA busy_timeout = 10")
            other = sqlite3.connect(on.journal, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(JournalError, match="locked"):
                async for _ in batch.run(session):
                    pass
            other.close()
        assert on.purchases == 0
        await on.carry()
        assert on.purchases == 3
