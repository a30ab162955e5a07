"""The persistent state: values by type and key in one SQLite file, written before a response reports them."""

from __future__ import annotations

import secrets
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeVar

from cattrs.preconf.json import make_converter

from .._sqlite_writer import GroupCommitWriter, create_private_file, restrict_to_owner

T = TypeVar("T")

FORMAT_VERSION: Final = 2
"""Version of the stored types; a file of another version is rejected."""

CREATE_TABLE: Final = "CREATE TABLE stored (type TEXT, key TEXT, value TEXT, PRIMARY KEY (type, key))"
PUT: Final = "INSERT INTO stored VALUES (?, ?, ?) ON CONFLICT (type, key) DO UPDATE SET value = excluded.value"
DROP: Final = "DELETE FROM stored WHERE type = ? AND key = ?"
LOAD: Final = "SELECT value FROM stored WHERE type = ? ORDER BY rowid"

OPENING: Final = "opening"
"""Type of the rows that count the processes which opened the file."""

SEED: Final = ("seed", "")
"""Type and key of the row with the seed."""

_converter = make_converter(detailed_validation=False)
_converter.register_structure_hook(Mapping[str, Any] | str, lambda value, _: value)


class StateStore:
    """A store that takes values on the event loop and writes them in a thread. Without a path it keeps nothing.

    One sandbox at a time can open the file: raises ValueError if another has it open, or if it is not a state file;
    OSError if it cannot be written.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.opening_number = 1
        """Number of processes that have opened the file, this one included."""
        self._connection: sqlite3.Connection | None = None
        self._writer = GroupCommitWriter(
            _write, thread_name="rivya-sandbox-state", to_error=partial(_write_error, path)
        )
        if self.path is not None:
            self._connection = self._connect(self.path)
            self._writer.open(self._connection)
            self.opening_number = 1 + self._count_openings()
            try:
                _write(self._connection, {(OPENING, f"{self.opening_number}"): ""})
            except sqlite3.Error as error:
                raise _write_error(self.path, error) from error

    def choose_seed(self, seed: int | None) -> int:
        """Returns the given seed, else the one in the file, else a random one; the file keeps it. Blocks."""
        if self._connection is None:
            return secrets.randbits(64) if seed is None else seed
        found = self._connection.execute("SELECT value FROM stored WHERE type = ? AND key = ?", SEED).fetchone()
        if seed is None:
            seed = secrets.randbits(64) if found is None else int(found[0])
        _write(self._connection, {SEED: str(seed)})
        return seed

    @property
    def has_unwritten(self) -> bool:
        """True while a value is not on disk yet."""
        return self._writer.is_behind

    def load(self, kind: type[T]) -> Iterator[T]:
        """Yields the written values of a type in the order of their first `put`. Blocks."""
        if self._connection is not None:
            for (text,) in self._connection.execute(LOAD, (kind.__name__,)):
                yield _converter.loads(text, kind)

    def put(self, key: str, value: object) -> None:
        """Stores the current state of a value under its type and key."""
        if self.path is not None:
            self._writer.put({(type(value).__name__, key): _converter.dumps(value)})

    def drop(self, key: str, kind: type[object]) -> None:
        """Deletes a value."""
        if self.path is not None:
            self._writer.put({(kind.__name__, key): None})

    async def flush(self) -> None:
        """Writes all changes; concurrent calls share a commit.

        Raises OSError if the file cannot be written; the next call tries again.
        """
        await self._writer.flush()

    def open(self) -> None:
        """Opens the file again after `close`."""
        if self.path is not None and self._connection is None:
            self._connection = self._connect(self.path)
            self._writer.open(self._connection)
            if self._count_openings() != self.opening_number:
                self.close()
                raise ValueError(
                    f"{self.path}: another sandbox has continued with this state. Create a new Sandbox from it."
                )

    async def aclose(self) -> None:
        """Writes the remaining changes and closes the file."""
        self._connection = None
        await self._writer.aclose()

    def close(self) -> None:
        """Closes the file after the running commit."""
        self._connection = None
        self._writer.close()

    def _count_openings(self) -> int:
        assert self._connection is not None  # noqa: S101
        (count,) = self._connection.execute("SELECT count(*) FROM stored WHERE type = ?", (OPENING,)).fetchone()
        return int(count)

    def _connect(self, path: Path) -> sqlite3.Connection:
        """Opens the file with an exclusive lock. A commit survives a kill of the process."""
        try:
            create_private_file(path)
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise ValueError(f"{path}: {error}") from None
        weakref.finalize(self, connection.close)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            _check_format(connection)
            restrict_to_owner(path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except (sqlite3.Error, ValueError) as error:
            connection.close()
            raise ValueError(f"{path}: {error}") from None
        return connection


def _write_error(path: str | PathLike[str] | None, error: sqlite3.Error) -> OSError:
    return OSError(f"{path}: {error}")


def _write(connection: sqlite3.Connection, changes: Mapping[tuple[str, str], str | None]) -> None:
    """Writes all changes in one transaction. Blocks."""
    with connection:
        connection.execute("BEGIN")
        for (kind, key), value in changes.items():
            if value is None:
                connection.execute(DROP, (kind, key))
            else:
                connection.execute(PUT, (kind, key, value))


def _check_format(connection: sqlite3.Connection) -> None:
    """Initializes a new file; raises ValueError for a file of another format."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        with connection:
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute(CREATE_TABLE)
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    elif version != FORMAT_VERSION:
        raise ValueError("this is not a state file of this sandbox version")
