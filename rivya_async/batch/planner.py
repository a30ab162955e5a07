"""Adding the rows of a manifest to a journal: new, known, changed and conflicting ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from .._core.errors import ConfigurationError
from .._jobs.transitions import JobState
from .row import InvalidRow, Row, RowRecord, duplicate_name_problem
from .schema import INSERT_ROW, ROW_COLUMNS, identity_key, insert_values, row_values

MAX_LISTED: Final = 1000
"""Conflicts, and invalid rows, that a result lists. All are counted."""

MAX_IN_MESSAGE: Final = 20
"""Invalid rows in the message of `InvalidRowsError`."""

REPLACE: Final = (
    f"UPDATE rows SET digest = ?, {', '.join(f'{name} = ?' for name in ROW_COLUMNS)}, state = '{JobState.PLANNED}', "
    "error_code = NULL, error_type = NULL, error = NULL WHERE identity = ?"
)


@attrs.frozen
class Conflict:
    """A row whose content differs from that of its purchase. The journal keeps the old content."""

    line: int
    """Line in the manifest."""
    identity: str
    """Name that identifies the row."""
    state: JobState
    """State of the earlier job."""


@attrs.define
class PlanResult:
    """The numbers of rows by outcome.

    `known` rows were in the journal with the same content, `replaced` ones with other content and no purchase.
    `conflicts` and `invalid_rows` list the first thousand.
    """

    new: int = 0
    """Rows that were added."""
    known: int = 0
    replaced: int = 0
    conflicting: int = 0
    """Rows whose content differs from that of their purchase."""
    invalid: int = 0
    """Rows that are invalid."""
    conflicts: list[Conflict] = attrs.field(factory=list)
    invalid_rows: list[InvalidRow] = attrs.field(factory=list)

    def add_invalid(self, row: InvalidRow) -> None:
        """Counts an invalid row."""
        self.invalid += 1
        if len(self.invalid_rows) < MAX_LISTED:
            self.invalid_rows.append(row)


class InvalidRowsError(ConfigurationError):
    """Rows are invalid, so none was added. `result` lists them with their problems."""

    result: PlanResult


def plan_rows(
    rows: Iterable[Row | InvalidRow], batch_id: str, connection: sqlite3.Connection, *, keep_going: bool
) -> PlanResult:
    """Adds all rows to the journal, or none if `rows` raises, or if a row is invalid and `keep_going` is false."""
    result = PlanResult()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        (last_place,) = connection.execute("SELECT coalesce(max(place), 0) FROM rows").fetchone()
        detector = RenumberDetector(connection, last_place)
        for each in rows:
            row = _accept_known(each, connection)
            invalid = row if isinstance(row, InvalidRow) else _add(row, batch_id, result, detector)
            if invalid is not None:
                result.add_invalid(invalid)
        for was_new, invalid in detector.remove_renumbered():
            result.new -= was_new
            result.replaced -= not was_new
            result.add_invalid(invalid)
        if result.invalid and not keep_going:
            raise _invalid_rows_error(result)
    return result


def _invalid_rows_error(result: PlanResult) -> InvalidRowsError:
    lines = "".join(f"\n  line {row.line}: {'; '.join(row.problems)}" for row in result.invalid_rows[:MAX_IN_MESSAGE])
    more = f"\n  and {result.invalid - MAX_IN_MESSAGE:,} more" if result.invalid > MAX_IN_MESSAGE else ""
    error = InvalidRowsError(
        f"{result.invalid:,} rows are invalid, so nothing was added. Correct them, or add the valid ones with "
        f"keep_going{lines}{more}"
    )
    error.result = result
    return error


def _accept_known(row: Row | InvalidRow, connection: sqlite3.Connection) -> Row | InvalidRow:
    """Returns the row itself where the journal has an invalid one, so that a batch can always be resumed.

    Its files may have been deleted since, or its model withdrawn. If it is not purchased yet, the run gives it up.
    """
    if isinstance(row, Row) or row.row is None:
        return row
    select = "SELECT 1 FROM rows WHERE identity = ? AND digest = ?"
    is_known = connection.execute(select, [identity_key(row.row), row.row.digest]).fetchone() is not None
    return row.row if is_known else row


def _add(row: Row, batch_id: str, result: PlanResult, detector: RenumberDetector) -> InvalidRow | None:
    """Adds one row, unless this plan has added another of its name."""
    connection = detector.connection
    if connection.execute(INSERT_ROW, insert_values(RowRecord(row=row, batch_id=batch_id))).rowcount:
        result.new += 1
        return None
    key = identity_key(row)
    select = "SELECT place, line, digest, state, body IS NULL FROM rows WHERE identity = ?"
    place, line, digest, state, has_no_purchase = connection.execute(select, [key]).fetchone()
    if place > detector.last_place:
        return InvalidRow(row.line, (duplicate_name_problem(row.identity, line),))
    if digest == row.digest:
        result.known += 1
    elif has_no_purchase and state in {JobState.PLANNED, JobState.DEAD}:
        connection.execute(REPLACE, [row.digest, *row_values(row), key])
        result.replaced += 1
        detector.add_replaced(row)
    else:
        detector.add_displaced(row, digest)
        result.conflicting += 1
        if len(result.conflicts) < MAX_LISTED:
            result.conflicts.append(Conflict(row.line, row.identity, JobState(state)))
    return None


@attrs.frozen
class RenumberDetector:
    """Detection of rows without a name whose number has changed, so that they are not purchased again.

    `last_place` is the last place in the journal before the plan. The temporary tables last as long as the plan.
    """

    connection: sqlite3.Connection
    last_place: int

    def __attrs_post_init__(self) -> None:
        self.connection.execute("CREATE TEMP TABLE displaced (digest TEXT PRIMARY KEY, number INTEGER)")
        self.connection.execute("CREATE TEMP TABLE replaced (identity TEXT PRIMARY KEY)")

    def add_displaced(self, row: Row, digest: str) -> None:
        """Notes that this row has the number of a purchase with this digest."""
        if row.name is None:
            self.connection.execute("INSERT OR IGNORE INTO displaced VALUES (?, ?)", [digest, row.number])

    def add_replaced(self, row: Row) -> None:
        """Notes that this row has replaced one without a purchase."""
        if row.name is None:
            self.connection.execute("INSERT OR IGNORE INTO replaced VALUES (?)", [identity_key(row)])

    def remove_renumbered(self) -> Iterator[tuple[bool, InvalidRow]]:
        """Removes the rows of this plan that equal a displaced one, and yields each with whether it was new."""
        found = self.connection.execute(
            "SELECT place, line, displaced.number FROM rows JOIN displaced USING (digest) "
            "WHERE name IS NULL AND (place > ? OR identity IN (SELECT identity FROM replaced)) ORDER BY place",
            [self.last_place],
        ).fetchall()
        for place, line, number in found:
            self.connection.execute("DELETE FROM rows WHERE place = ?", [place])
            problem = (
                f"it is what row {number} was bought for: were rows inserted or removed? Rows without a name are "
                "identified by their number, so add new ones at the end, or give each a name"
            )
            yield place > self.last_place, InvalidRow(line, (problem,))
        self.connection.execute("DROP TABLE displaced")
        self.connection.execute("DROP TABLE replaced")
