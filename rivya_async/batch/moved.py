"""Rows without a name are known by their number: those that have got another one are found, and not bought again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import attrs

from .bad_row import InvalidRow
from .row import Row
from .schema import identity_key


@attrs.frozen
class RenumberDetector:
    """What a plan changes in rows without a name, noted in tables that last as long as the plan."""

    connection: sqlite3.Connection
    known: int
    """The last place before the plan."""

    def __attrs_post_init__(self) -> None:
        self.connection.execute("CREATE TEMP TABLE displaced (digest TEXT PRIMARY KEY, number INTEGER)")
        self.connection.execute("CREATE TEMP TABLE replaced (identity TEXT PRIMARY KEY)")

    def displaced(self, row: Row, digest: str) -> None:
        """This row stands now where one with this digest was, for which a purchase was begun."""
        if row.name is None:
            self.connection.execute("INSERT OR IGNORE INTO displaced VALUES (?, ?)", [digest, row.number])

    def replaced(self, row: Row) -> None:
        """This row has taken the place of one that was not begun."""
        if row.name is None:
            self.connection.execute("INSERT OR IGNORE INTO replaced VALUES (?)", [identity_key(row)])

    def taken_back(self) -> Iterator[tuple[bool, InvalidRow]]:
        """The rows of this plan that are what a displaced one was, each with whether it was new. They are removed."""
        found = self.connection.execute(
            "SELECT place, line, displaced.number FROM rows JOIN displaced USING (digest) "
            "WHERE name IS NULL AND (place > ? OR identity IN (SELECT identity FROM replaced)) ORDER BY place",
            [self.known],
        ).fetchall()
        for place, line, number in found:
            self.connection.execute("DELETE FROM rows WHERE place = ?", [place])
            yield (
                place > self.known,
                InvalidRow(
                    line,
                    (
                        f"it is what row {number} was bought for: were rows put in or taken out? Rows without a name "
                        "are known by their number, so add new ones at the end, or give each a name",
                    ),
                ),
            )
        self.connection.execute("DROP TABLE displaced")
        self.connection.execute("DROP TABLE replaced")
