"""What outlives the process: values by type and key in one SQLite file, written before an answer tells of them."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeVar

from cattrs.preconf.json import make_converter

from .._sqlite_writer import GroupCommitWriter

T = TypeVar("T")

VERSION: Final = 1
"""Of the shapes in the file. A file with other ones is refused."""

CREATE: Final = "CREATE TABLE stored (type TEXT, key TEXT, value TEXT, PRIMARY KEY (type, key))"
PUT: Final = "INSERT INTO stored VALUES (?, ?, ?) ON CONFLICT (type, key) DO UPDATE SET value = excluded.value"
DROP: Final = "DELETE FROM stored WHERE type = ? AND key = ?"
LOAD: Final = "SELECT value FROM stored WHERE type = ? ORDER BY rowid"

LIFE: Final = "life"
"""In the place of a type: one row for each process that had the file."""

_converter = make_converter(detailed_validation=False)
_converter.register_structure_hook(Mapping[str, Any] | str, lambda value, _: value)


class Store:
    """Takes values on the loop, and writes them in a thread of its own. Without a path it keeps nothing.

    One sandbox at a time has the file: ValueError if another has it, or if it is no state of a sandbox; OSError if it
    cannot be written.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.life = 1
        """The how-manieth process this is that has the file."""
        self._connection: sqlite3.Connection | None = None
        self._writer = GroupCommitWriter(
            _write, thread_name="rivya-sandbox-state", to_error=partial(_write_error, path)
        )
        if self.path is not None:
            self._connection = self._opened(self.path)
            self._writer.open(self._connection)
            self.life = 1 + self._lives()
            try:
                _write(self._connection, {(LIFE, f"{self.life}"): ""})
            except sqlite3.Error as error:
                raise _write_error(self.path, error) from error

    @property
    def is_behind(self) -> bool:
        """Whether something was put that is not on the disk yet."""
        return self._writer.is_behind

    def load(self, kind: type[T]) -> Iterator[T]:
        """Every value of this type that was written, in the order in which they were put first. Blocks."""
        if self._connection is not None:
            for (text,) in self._connection.execute(LOAD, (kind.__name__,)):
                yield _converter.loads(text, kind)

    def put(self, key: str, value: object) -> None:
        """Keep a value as it is now, in the place of an earlier one of its type and key."""
        if self.path is not None:
            self._writer.put({(type(value).__name__, key): _converter.dumps(value)})

    def drop(self, key: str, kind: type[object]) -> None:
        """Forget a value."""
        if self.path is not None:
            self._writer.put({(kind.__name__, key): None})

    async def written(self) -> None:
        """Return when all that was put is on the disk; whoever waits meanwhile is written together.

        OSError if it cannot be written: the next one to wait tries again.
        """
        await self._writer.flush()

    def open(self) -> None:
        """Have the file again, after `close`."""
        if self.path is not None and self._connection is None:
            self._connection = self._opened(self.path)
            self._writer.open(self._connection)
            if self._lives() != self.life:
                self.close()
                raise ValueError(f"{self.path}: another sandbox has gone on with this state: make a new one of it")

    async def aclose(self) -> None:
        """Write what is left, and let go of the file."""
        self._connection = None
        await self._writer.aclose()

    def close(self) -> None:
        """Let go of the file, once it has taken what is being written."""
        self._connection = None
        self._writer.close()

    def _lives(self) -> int:
        assert self._connection is not None  # noqa: S101
        (count,) = self._connection.execute("SELECT count(*) FROM stored WHERE type = ?", (LIFE,)).fetchone()
        return int(count)

    def _opened(self, path: Path) -> sqlite3.Connection:
        """The file, locked for us alone until it is closed. A commit survives the death of the process at any time."""
        try:
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise ValueError(f"{path}: {error}") from None
        weakref.finalize(self, connection.close)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            _check(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except (sqlite3.Error, ValueError) as error:
            connection.close()
            raise ValueError(f"{path}: {error}") from None
        return connection


def _write_error(path: str | PathLike[str] | None, error: sqlite3.Error) -> OSError:
    return OSError(f"{path}: {error}")


def _write(connection: sqlite3.Connection, changes: Mapping[tuple[str, str], str | None]) -> None:
    """All of it or nothing. Blocks."""
    with connection:
        connection.execute("BEGIN")
        for (kind, key), value in changes.items():
            if value is None:
                connection.execute(DROP, (kind, key))
            else:
                connection.execute(PUT, (kind, key, value))


def _check(connection: sqlite3.Connection) -> None:
    """Make a new file ready; ValueError for one that is of somebody else."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        with connection:
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute(CREATE)
            connection.execute(f"PRAGMA user_version = {VERSION}")
    elif version != VERSION:
        raise ValueError("this is no state of a sandbox of this version")
