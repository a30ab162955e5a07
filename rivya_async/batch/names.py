"""Which names a manifest has used, however many there are: on the disk, not in memory."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Self

from .bad_row import BadRow, name_taken
from .row import Row
from .tables import identity_of


class Names:
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

    def checked(self, found: Row | BadRow) -> Row | BadRow:
        """What was found, if it has no name or is the first of its name, which is remembered."""
        row = found.row if isinstance(found, BadRow) else found
        if row is None or row.name is None:
            return found
        name = identity_of(row)
        insert = "INSERT INTO names VALUES (?, ?) ON CONFLICT DO NOTHING"
        if self._connection.execute(insert, (name, row.line)).rowcount:
            return found
        (line,) = self._connection.execute("SELECT line FROM names WHERE name = ?", (name,)).fetchone()
        return BadRow(row.line, (name_taken(row.identity, line),))
