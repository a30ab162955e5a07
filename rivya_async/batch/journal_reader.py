"""Looking into a journal without having it: also while another process works with it. Blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .._core.errors import JournalError
from .journal import check, select_batch_id
from .record import RowRecord, RunRecord
from .schema import SELECT, parse_record


def read_records(path: Path) -> Generator[RowRecord]:
    """Every row, as it was planned, as of one moment; one is in memory at a time. Raises `JournalError`.

    Who stops early closes it, in the same thread.
    """
    with reading(path) as connection:
        batch_id = select_batch_id(connection)
        for _, *values in connection.execute(f"{SELECT} ORDER BY place"):
            yield parse_record(values, batch_id)


def read_runs(path: Path) -> list[RunRecord]:
    """Every run, the first one first. Raises `JournalError`."""
    with reading(path) as connection:
        return runs_in(connection)


def runs_in(connection: sqlite3.Connection) -> list[RunRecord]:
    """Every run of an open journal, the first one first."""
    found = connection.execute("SELECT number, started_at, ended_at FROM runs ORDER BY number")
    return [RunRecord(number=number, started_at=began, ended_at=ended) for number, began, ended in found]


def require_journal(path: Path) -> Path:
    """The path, if there is a file. Raises `JournalError`."""
    if not path.is_file():
        raise JournalError(f"there is no journal {path}")
    return path


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The journal, to be read only."""
    require_journal(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA query_only = ON")
            check(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise JournalError(f"{path} is no journal of a batch, or cannot be read: {error}") from None
