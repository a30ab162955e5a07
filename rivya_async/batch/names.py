"""Which names a manifest has used, however many there are: on the disk, not in memory."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Self

from .bad_row import InvalidRow, duplicate_name_problem
from .row import Row
from .schema import identity_key


class NameIndex:
    """The names of rows, and the lines of their first rows. A context manager; what it wrote is gone at its end."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # a file of its own
        for statement in (
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE names (name TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID",
            "BEGIN",
        ):
            self._connection.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def checked(self, found: Row | InvalidRow) -> Row | InvalidRow:
        """What was found, if it has no name or is the first of its name, which is remembered."""
        row = found.row if isinstance(found, InvalidRow) else found
        if row is None or row.name is None:
            return found
        name = identity_key(row)
        insert = "INSERT INTO names VALUES (?, ?) ON CONFLICT DO NOTHING"
        if self._connection.execute(insert, (name, row.line)).rowcount:
            return found
        (line,) = self._connection.execute("SELECT line FROM names WHERE name = ?", (name,)).fetchone()
        return InvalidRow(row.line, (duplicate_name_problem(row.identity, line),))
