"""Rows of a manifest become rows of a journal: which are new, which are known, which are not what they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

import attrs

from .._core.errors import ConfigurationError
from .._jobs.transitions import JobState
from .bad_row import BadRow, name_taken
from .moved import Moved
from .record import RowRecord
from .row import Row
from .tables import INSERT, OF_ROW, identity_of, insert_values, row_values

MOST_TOLD: Final = 1000
"""Conflicts, and bad rows, that are told one by one; all are counted."""

SHOWN: Final = 20
"""Bad rows that a message shows."""

REPLACE: Final = (
    f"UPDATE rows SET digest = ?, {', '.join(f'{name} = ?' for name in OF_ROW)}, state = '{JobState.PLANNED}', "
    "error_code = NULL, error = NULL WHERE identity = ?"
)


@attrs.frozen
class Conflict:
    """A row whose content is not that for which the purchase of this name was begun. It was left as it was."""

    line: int
    identity: str
    state: JobState


@attrs.define
class Planned:
    """What became of rows that were added.

    `known` ones were in the journal already, `replaced` ones too, with other content and nothing bought for it. Of
    `conflicting` and `bad` ones the first thousand are told in `conflicts` and `bad_rows`.
    """

    new: int = 0
    known: int = 0
    replaced: int = 0
    conflicting: int = 0
    bad: int = 0
    conflicts: list[Conflict] = attrs.field(factory=list)
    bad_rows: list[BadRow] = attrs.field(factory=list)

    def note_bad(self, bad: BadRow) -> None:
        """Count a bad row."""
        self.bad += 1
        if len(self.bad_rows) < MOST_TOLD:
            self.bad_rows.append(bad)


class BadRows(ConfigurationError):
    """There are rows that are none, so nothing was added. `planned` tells which, and what is wrong with each."""

    planned: Planned


def _refused(planned: Planned) -> BadRows:
    told = "".join(f"\n  line {bad.line}: {'; '.join(bad.problems)}" for bad in planned.bad_rows[:SHOWN])
    more = f"\n  and {planned.bad - SHOWN:,} more" if planned.bad > SHOWN else ""
    refused = BadRows(
        f"{planned.bad:,} rows cannot be bought as they are, so nothing was added: mend them, or go on with the good "
        f"ones (keep_going){told}{more}"
    )
    refused.planned = planned
    return refused


def plan(rows: Iterable[Row | BadRow], batch_id: str, connection: sqlite3.Connection, *, keep_going: bool) -> Planned:
    """Put all rows into the journal; or none if `rows` raises, or one is bad and we are not to keep going."""
    planned = Planned()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        (known,) = connection.execute("SELECT coalesce(max(place), 0) FROM rows").fetchone()
        moved = Moved(connection, known)
        for found in rows:
            row = _accepted(found, connection)
            bad = row if isinstance(row, BadRow) else _added(row, batch_id, planned, moved)
            if bad is not None:
                planned.note_bad(bad)
        for was_new, bad in moved.taken_back():
            planned.new -= was_new
            planned.replaced -= not was_new
            planned.note_bad(bad)
        if planned.bad and not keep_going:
            raise _refused(planned)
    return planned


def _accepted(found: Row | BadRow, connection: sqlite3.Connection) -> Row | BadRow:
    """What was found; but a row that the journal has is not judged again, so that what is begun can always go on.

    Its files may be gone since, and its model withdrawn: if it is not bought yet, the run gives it up for that.
    """
    if isinstance(found, Row) or found.row is None:
        return found
    select = "SELECT 1 FROM rows WHERE identity = ? AND digest = ?"
    is_known = connection.execute(select, [identity_of(found.row), found.row.digest]).fetchone() is not None
    return found.row if is_known else found


def _added(row: Row, batch_id: str, planned: Planned, moved: Moved) -> BadRow | None:
    """Put one row into the journal, unless it has the name of one that this very plan has put there."""
    connection = moved.connection
    if connection.execute(INSERT, insert_values(RowRecord(row=row, batch_id=batch_id))).rowcount:
        planned.new += 1
        return None
    select = "SELECT place, line, digest, state, body IS NULL FROM rows WHERE identity = ?"
    place, line, digest, state, is_untouched = connection.execute(select, [identity_of(row)]).fetchone()
    if place > moved.known:
        return BadRow(row.line, (name_taken(row.identity, line),))
    if digest == row.digest:
        planned.known += 1
    elif is_untouched and state in {JobState.PLANNED, JobState.DEAD}:
        connection.execute(REPLACE, [row.digest, *row_values(row), identity_of(row)])
        planned.replaced += 1
        moved.replaced(row)
    else:
        planned.conflicting += 1
        moved.displaced(row, digest)
        if len(planned.conflicts) < MOST_TOLD:
            planned.conflicts.append(Conflict(row.line, row.identity, JobState(state)))
    return None
