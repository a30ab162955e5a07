"""Rows of a manifest become rows of a journal: which are new, which are known, which are not what they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

import attrs

from .record import RowRecord
from .row import Row
from .states import State
from .tables import INSERT, OF_ROW, identity_of, insert_values, row_values

MOST_TOLD: Final = 1000
"""Conflicts that are told one by one; all are counted."""

REPLACE: Final = (
    f"UPDATE rows SET digest = ?, {', '.join(f'{name} = ?' for name in OF_ROW)}, state = '{State.PLANNED}', "
    "error_code = NULL, error = NULL WHERE identity = ?"
)


@attrs.frozen
class Conflict:
    """A row whose content is not that for which the purchase of this name was begun. It was left as it was."""

    line: int
    identity: str
    state: State


@attrs.define
class Planned:
    """What became of rows that were added.

    `known` ones were in the journal already, `replaced` ones too, with other content and nothing bought for it.
    """

    new: int = 0
    known: int = 0
    replaced: int = 0
    conflicting: int = 0
    conflicts: list[Conflict] = attrs.field(factory=list)
    """The first thousand of `conflicting` rows."""


def plan(rows: Iterable[Row], batch_id: str, connection: sqlite3.Connection) -> Planned:
    """Put all rows into the journal, or none if `rows` raises."""
    planned = Planned()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for row in rows:
            _add(row, batch_id, connection, planned)
    return planned


def _add(row: Row, batch_id: str, connection: sqlite3.Connection, planned: Planned) -> None:
    if connection.execute(INSERT, insert_values(RowRecord(row=row, batch_id=batch_id))).rowcount:
        planned.new += 1
        return
    select = "SELECT digest, state, body IS NULL FROM rows WHERE identity = ?"
    digest, state, is_untouched = connection.execute(select, [identity_of(row)]).fetchone()
    if digest == row.digest:
        planned.known += 1
    elif is_untouched and state in {State.PLANNED, State.DEAD}:
        connection.execute(REPLACE, [row.digest, *row_values(row), identity_of(row)])
        planned.replaced += 1
    else:
        planned.conflicting += 1
        if len(planned.conflicts) < MOST_TOLD:
            planned.conflicts.append(Conflict(row.line, row.identity, State(state)))
