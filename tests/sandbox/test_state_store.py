"""The state store: writes, locks and file formats."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Final

import pytest

from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.api_keys import ApiKey
from rivya_async.sandbox.store import StateStore
from tests.sandbox.sandbox_client import limited_file_size

CHAT: Final = "/api/v1/chat/completions"


def make_key(name: str) -> ApiKey:
    return ApiKey(name, "main")


async def test_loads_newest_values_in_order_of_first_put(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    for name in ("b", "a", "c"):
        store.put(name, make_key(name))
    await store.flush()
    store.put("b", ApiKey("b", "other"))
    store.drop("a", ApiKey)
    await store.aclose()
    again = StateStore(tmp_path / "s.db")
    assert list(again.load(ApiKey)) == [ApiKey("b", "other"), make_key("c")]
    assert (store.opening_number, again.opening_number) == (1, 2)
    again.close()


async def test_concurrent_flushes_share_commit(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    commits, go_on = [], threading.Event()

    def slow_disk(line: str) -> None:
        if line == "BEGIN":
            commits.append(line)
            assert go_on.wait(5)

    assert store._connection is not None
    store._connection.set_trace_callback(slow_disk)
    waiting = []
    for number in range(50):
        store.put(f"{number}", make_key(f"{number}"))
        waiting.append(asyncio.create_task(store.flush()))
        await asyncio.sleep(0)
    assert store.has_unwritten
    assert not any(task.done() for task in waiting)
    go_on.set()
    await asyncio.gather(*waiting)
    assert not store.has_unwritten
    assert len(commits) == 2
    await store.aclose()
    again = StateStore(tmp_path / "s.db")
    assert len(list(again.load(ApiKey))) == 50
    again.close()


async def test_cancelled_flush_loses_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    store.put("a", make_key("a"))
    first = asyncio.create_task(store.flush())
    await asyncio.sleep(0)
    store.put("b", make_key("b"))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await store.flush()
    assert not store.has_unwritten
    await store.aclose()
    again = StateStore(tmp_path / "s.db")
    assert list(again.load(ApiKey)) == [make_key("a"), make_key("b")]
    again.close()


async def test_failed_write_is_retried_with_next_flush(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    assert store._connection is not None
    store._connection.execute("PRAGMA max_page_count = 1")
    store.put("big", ApiKey("x" * 100_000, "main"))
    with pytest.raises(OSError, match=r"s\.db: database or disk is full"):
        await store.flush()
    assert store.has_unwritten
    store._connection.execute("PRAGMA max_page_count = 100000")
    await store.flush()
    assert not store.has_unwritten
    await store.aclose()


async def test_full_disk_raises_at_creation_and_close(tmp_path: Path) -> None:
    async with Sandbox(state=tmp_path / "s.db"):
        pass
    with limited_file_size(1000), pytest.raises(OSError, match=r"s\.db: disk I/O error"):
        Sandbox(state=tmp_path / "s.db")
    sandbox = Sandbox(state=tmp_path / "s.db")
    await sandbox.start()
    sandbox.add_key("team-b")
    with limited_file_size(1000), pytest.raises(OSError, match=r"s\.db: disk I/O error"):
        await sandbox.aclose()
    assert "team-b" not in Sandbox(state=tmp_path / "s.db").service_state.accounts, "the file is closed"


def test_store_without_path_keeps_nothing(tmp_path: Path) -> None:
    store = StateStore()
    store.put("a", make_key("a"))
    store.drop("b", ApiKey)
    assert not store.has_unwritten
    assert list(store.load(ApiKey)) == []
    assert list(tmp_path.iterdir()) == []


def test_state_is_locked_by_one_sandbox(tmp_path: Path) -> None:
    first = StateStore(tmp_path / "s.db")
    with pytest.raises(ValueError, match=r"s\.db: database is locked"):
        StateStore(tmp_path / "s.db")
    first.close()
    second = StateStore(tmp_path / "s.db")
    second.close()
    with pytest.raises(ValueError, match="another sandbox has continued with this state"):
        first.open()
    second.open()
    second.close()


@pytest.mark.parametrize("content", ["text", "other database", "other version", "folder"])
def test_rejects_other_files_and_leaves_them_unchanged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.db"
    if content == "text":
        path.write_text("Dear diary, " * 1000)
    elif content == "folder":
        path.mkdir()
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE stored (x)")
        connection.execute("PRAGMA user_version = 99")
        if content == "other database":
            connection.execute("PRAGMA user_version = 0")
        connection.commit()
        connection.close()
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(ValueError, match=r"s\.db: \w"):
        Sandbox(state=path)
    assert path.is_dir() or path.read_bytes() == before
