"""The group-commit writer of journals and of the sandbox's state."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from rivya_async._sqlite_writer import CommitInterrupted, GroupCommitWriter, WriterClosed


class StoreError(Exception):
    pass


def to_error(error: sqlite3.Error) -> StoreError:
    raised = StoreError(str(error))
    raised.__cause__ = error
    return raised


def write(connection: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO commits DEFAULT VALUES")
        connection.executemany("INSERT OR REPLACE INTO members VALUES (?, ?)", changes.items())


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.05)
    connection.execute("CREATE TABLE IF NOT EXISTS members (name TEXT PRIMARY KEY, value INTEGER)")
    connection.execute("CREATE TABLE IF NOT EXISTS commits (number INTEGER PRIMARY KEY)")
    return connection


def open_writer(path: Path, delay: float = 0.0) -> GroupCommitWriter[str, int]:
    writer: GroupCommitWriter[str, int] = GroupCommitWriter(write, thread_name="test", to_error=to_error, delay=delay)
    writer.open(connect(path))
    return writer


def read(path: Path) -> tuple[dict[str, int], int]:
    """Returns the members and the number of commits."""
    connection = connect(path)
    members = dict(connection.execute("SELECT name, value FROM members"))
    (commits,) = connection.execute("SELECT count(*) FROM commits").fetchone()
    connection.close()
    return members, commits


async def test_merges_changes_into_one_commit(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "w.db", delay=0.01)
    for value in range(5):
        writer.put({"a": value, f"b{value}": value})
        commit = writer.schedule_commit()
    assert writer.is_behind
    await asyncio.gather(*(writer.flush() for _ in range(3)))
    assert commit.done()
    assert not writer.is_behind
    await writer.aclose()
    members, commits = read(tmp_path / "w.db")
    assert (members["a"], len(members), commits) == (4, 6, 1)


async def test_failed_commit_keeps_its_changes(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "w.db")
    other = connect(tmp_path / "w.db")
    other.execute("BEGIN IMMEDIATE")
    writer.put({"a": 1, "b": 1})
    with pytest.raises(StoreError, match="locked"):
        await writer.flush()
    other.close()
    assert writer.is_behind
    writer.put({"b": 2})
    await writer.flush()
    await writer.aclose()
    assert read(tmp_path / "w.db") == ({"a": 1, "b": 2}, 1)


@pytest.mark.parametrize("steps", [0, 1])
async def test_interrupted_commit_is_repeated(tmp_path: Path, steps: int) -> None:
    """Also if its task is cancelled before its first step."""
    writer = open_writer(tmp_path / "w.db", delay=0.01)
    writer.put({"a": 1})
    commit = writer.schedule_commit()
    for _ in range(steps):
        await asyncio.sleep(0)
    assert writer._flusher is not None
    writer._flusher.cancel()
    await asyncio.sleep(0)
    if steps:
        assert isinstance((commit.exception() or Exception()).__cause__, CommitInterrupted)
    await writer.flush()
    await writer.aclose()
    assert read(tmp_path / "w.db") == ({"a": 1}, 1)


def test_changes_outlive_the_file_and_the_loop(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "w.db")

    async def close() -> None:
        writer.put({"a": 1})
        writer.close()
        for call in (writer.schedule_commit, lambda: writer.submit(sqlite3.Connection.commit)):
            with pytest.raises(StoreError) as caught:
                call()
            assert isinstance(caught.value.__cause__, WriterClosed)
        await writer.aclose()

    asyncio.run(close())
    writer.put({"b": 2})
    assert writer.is_behind
    writer.open(connect(tmp_path / "w.db"))
    asyncio.run(writer.aclose())
    assert read(tmp_path / "w.db") == ({"a": 1, "b": 2}, 1)
