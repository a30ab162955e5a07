"""The shape of a journal: its tables, and the way of a record there and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import attrs

from .._core.types.generations import SavedFile
from .record import RowRecord
from .row import Row
from .states import State

VERSION: Final = 1
"""Of the shape. A journal with another one is refused."""

CREATE: Final = (
    "CREATE TABLE batch (id TEXT, created_at REAL)",
    "CREATE TABLE runs (number INTEGER PRIMARY KEY, started_at REAL, ended_at REAL, service TEXT)",
    """
    CREATE TABLE rows (
        place INTEGER PRIMARY KEY, identity TEXT UNIQUE, digest TEXT,
        number INTEGER, line INTEGER, name TEXT, model TEXT, prompt TEXT, params TEXT, refs TEXT,
        client_request_id TEXT, state TEXT, purchase INTEGER, body TEXT, expected_credits, task_id TEXT,
        reserved_credits, final_credits, earlier_credits, urls TEXT, error_code TEXT, error TEXT, duration REAL,
        polls INTEGER, intent_at REAL, submitted_at REAL, ended_at REAL, downloaded_at REAL, files TEXT
    )
    """,
)

CREDITS: Final = (
    "earlier_credits + coalesce(final_credits, reserved_credits, "
    "CASE WHEN body IS NULL THEN NULL ELSE expected_credits END, 0)"
)
"""`RowRecord.credits`, as the database computes it."""

LARGEST: Final = 2**63 - 1
"""Whole number that fits into a column."""

OF_ROW: Final = ("number", "line", "name", "model", "prompt", "params", "refs", "client_request_id")
OF_RECORD: Final = tuple(each.name for each in attrs.fields(RowRecord) if each.name not in {"row", "batch_id"})
COLUMNS: Final = (*OF_ROW, *OF_RECORD)

JSON: Final = frozenset({"params", "refs", "urls", "files"})
"""Columns whose values are lists and objects."""

INSERT: Final = (
    f"INSERT INTO rows (identity, digest, {', '.join(COLUMNS)}) VALUES (?, ?{', ?' * len(COLUMNS)}) "
    "ON CONFLICT (identity) DO NOTHING"
)
SELECT: Final = f"SELECT place, digest, {', '.join(COLUMNS)} FROM rows"


def identity_of(row: Row) -> str:
    """By what the journal knows a row again: names that differ in case only would be one file on some systems."""
    return row.identity.casefold()


def row_values(row: Row) -> Sequence[Any]:
    """The values of the columns of `OF_ROW`."""
    return [
        row.number,
        row.line,
        row.name,
        row.model,
        row.prompt,
        _stored("params", row.params),
        _stored("refs", row.references),
        row.client_request_id,
    ]


def insert_values(record: RowRecord) -> Sequence[Any]:
    """The values of `INSERT`."""
    told = [_stored(name, getattr(record, name)) for name in OF_RECORD]
    return [identity_of(record.row), record.row.digest, *row_values(record.row), *told]


@cache
def update_statement(names: tuple[str, ...]) -> str:
    """The statement that changes these columns of a row."""
    return f"UPDATE rows SET {', '.join(f'{name} = ?' for name in names)} WHERE identity = ?"


def update_values(changes: Mapping[str, Any]) -> Sequence[Any]:
    """Its values, but for the identity."""
    return [_stored(name, value) for name, value in changes.items()]


def record_of(values: Sequence[Any], batch_id: str) -> RowRecord:
    """The record out of the values of `SELECT`, without the place."""
    digest, number, line, name, model, prompt, params, references, client_request_id, *told = values
    row = Row(
        number=number,
        line=line,
        name=name,
        model=model,
        prompt=prompt,
        params=json.loads(params),
        references=_listed(references),
        client_request_id=client_request_id,
    )
    row.__dict__["digest"] = digest  # as it was when the row was planned
    found = dict(zip(OF_RECORD, told, strict=True))
    found["state"] = State(found["state"])
    found["urls"] = tuple(_listed(found["urls"]))
    found["files"] = tuple(SavedFile(**each) for each in _listed(found["files"]))
    return RowRecord(row=row, batch_id=batch_id, **found)


def _listed(text: str) -> Sequence[Any]:
    return json.loads(text) if text != "[]" else ()


def _stored(name: str, value: Any) -> Any:
    """The value as SQLite takes it: what a service says may hold half of a character, or any number of digits."""
    if name in JSON:
        value = json.dumps(value, ensure_ascii=False, default=attrs.asdict)
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="replace").decode()
    if isinstance(value, int):
        return max(-LARGEST, min(value, LARGEST))
    return value
