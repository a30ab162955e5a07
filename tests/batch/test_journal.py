"""The journal when it is closed, interrupted, locked or given unusual values: nothing hangs, nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rivya_async import JournalError
from rivya_async.batch import Batch, RowRecord, State
from rivya_async.batch.journal_reader import read_records
from tests.batch.kit import RESULT, batch_environment, make_rows, wait_until


async def open_with_one_row(path: Path) -> tuple[Batch, RowRecord]:
    batch = Batch.open(path)
    await batch.add(make_rows(1))
    return batch, await anext(batch.records())


def read_first(path: Path) -> RowRecord:
    return next(read_records(path))


# --- closing ----------------------------------------------------------------------------------------------------------


async def test_closed_batch_raises(tmp_path: Path) -> None:
    batch, _ = await open_with_one_row(tmp_path / "kites.journal")
    await batch.aclose()
    await batch.aclose()
    for call in (batch.add(make_rows(1)), batch.retry(), anext(batch.records())):
        with pytest.raises(JournalError, match="is closed"):
            await call


async def test_close_ends_a_run_whose_loop_was_left(tmp_path: Path) -> None:
    async with batch_environment(tmp_path, speed=1.0) as env, env.session() as session:
        async with Batch.open(env.journal) as batch:
            await batch.add(make_rows(30))
            run = batch.run(session, max_in_flight=10)
            next_record = asyncio.create_task(anext(run))
            await wait_until(lambda: batch.counts[State.SUBMITTED] == 10)
            env.clock.offset, env.sandbox.service_state.speed = 3600.0, 5000.0
            await next_record
        assert not [task for task in asyncio.all_tasks() if "fan_out" in repr(task)], "the rows in progress have ended"
        with pytest.raises(JournalError, match="is closed"):
            await anext(run)
        assert env.purchases <= 11
        await env.run()
        assert env.purchases == 30


@pytest.mark.parametrize("steps", range(6))
async def test_abandoned_loop_is_cleaned_up_during_close(tmp_path: Path, steps: int) -> None:
    """The event loop closes an abandoned generator in a task of its own."""
    async with batch_environment(tmp_path) as env:
        env.sandbox.faults.add(route=RESULT, delay=0.2, nth=range(2, 30), act=True)
        loop_errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(context))
        async with env.session() as session, Batch.open(env.journal) as batch:
            await batch.add(make_rows(20))
            async for _ in batch.run(session, download_to=tmp_path / "out"):
                break
            for _ in range(steps):
                await asyncio.sleep(0)
        await env.run(download_to=tmp_path / "out")
        assert env.purchases == 20
        assert not loop_errors


async def test_close_during_a_run_ends_it(tmp_path: Path) -> None:
    async with batch_environment(tmp_path, speed=1.0) as env, env.session() as session:
        batch = Batch.open(env.journal)
        await batch.add(make_rows(5))

        async def run_all() -> None:
            async for _ in batch.run(session):
                pass

        running = asyncio.create_task(run_all())
        await wait_until(lambda: batch.counts[State.SUBMITTED] == 5)
        await batch.aclose()
        env.clock.offset, env.sandbox.service_state.speed = 3600.0, 5000.0
        async with asyncio.timeout(10):
            with pytest.raises(JournalError, match="is closed"):
                await running
        await env.run()
        assert env.purchases == 5


async def test_cancelled_close_writes_pending_changes(tmp_path: Path) -> None:
    batch, record = await open_with_one_row(tmp_path / "kites.journal")
    batch._journal.update(record, error="pending")
    closing = asyncio.create_task(batch.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert read_first(batch.path).error == "pending"
    await Batch.open(batch.path).aclose()


# --- interrupted commits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0.0, 0.02])
async def test_interrupted_commit_raises_and_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    """The end of an event loop cancels every task."""
    monkeypatch.setattr("rivya_async.batch.journal.COMMIT_DELAY", 0.01)
    batch, record = await open_with_one_row(tmp_path / "kites.journal")
    batch._journal.update(record, error="pending")
    waiting = asyncio.create_task(batch._journal.flush())
    await asyncio.sleep(0)
    flusher: Any = batch._journal._writer._flusher
    if delay:
        other = sqlite3.connect(batch.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # blocks the commit
        await asyncio.sleep(delay)
        flusher.cancel()
        other.close()
    else:
        flusher.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(JournalError, match="not written to the end"):
            await waiting
        await batch.aclose()
    assert read_first(batch.path).error == "pending"


async def test_plan_sees_pending_changes(tmp_path: Path) -> None:
    batch, record = await open_with_one_row(tmp_path / "kites.journal")
    async with batch:
        batch._journal.advance(record, State.INTENT, body="{}", expected_credits=1)
        assert (await batch.add(make_rows(1, prompt="Another"))).conflicting == 1
        assert (batch.counts, batch.credits) == (Counter({State.INTENT: 1}), 1)


# --- values -----------------------------------------------------------------------------------------------------------


async def test_stores_lone_surrogates_and_large_integers(tmp_path: Path) -> None:
    batch, record = await open_with_one_row(tmp_path / "kites.journal")
    async with batch:
        batch._journal.update(record, error="bad \ud800 é", final_credits=10**30, urls=("http://x/\udfff",))
        await batch._journal.flush()
    kept = read_first(batch.path)
    assert (kept.error, kept.final_credits, kept.urls) == ("bad ? é", 2**63 - 1, ("http://x/?",))


# --- paths and locks --------------------------------------------------------------------------------------------------


async def test_symlink_shares_the_lock_of_its_journal(tmp_path: Path) -> None:
    (tmp_path / "link.journal").symlink_to(tmp_path / "kites.journal")
    async with Batch.open(tmp_path / "kites.journal"):
        with pytest.raises(JournalError, match="another process works with"):
            Batch.open(tmp_path / "link.journal")


async def test_memory_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await Batch.open(":memory:").aclose()
    assert list(read_records(tmp_path / ":memory:")) == []


@pytest.mark.parametrize("name", ["nowhere/kites.journal", "folder", "kites.journal"])
def test_error_names_a_path_that_cannot_be_a_journal(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "kites.journal.lock").write_bytes(b"not a lock file" * 100)
    with pytest.raises(JournalError, match="cannot be opened"):
        Batch.open(tmp_path / name)


async def test_locked_file_ends_the_run_before_any_purchase(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(make_rows(3))
            await batch._journal._writer.submit(lambda connection: connection.execute("PRAGMA busy_timeout = 10"))
            other = sqlite3.connect(env.journal, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(JournalError, match="locked"):
                async for _ in batch.run(session):
                    pass
            other.close()
        assert env.purchases == 0
        await env.run()
        assert env.purchases == 3
