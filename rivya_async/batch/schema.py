"""The tables of a journal, and the conversion between rows of them and records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs

from .._core.errors import JournalError
from .._core.types.generations import SavedFile
from .._jobs.transitions import JobState
from .row import Row, RowRecord

VERSION: Final = 3
"""Version of the tables. Others are rejected."""

MAX_INTEGER: Final = 2**63 - 1
"""Largest integer that a column holds."""

CREATE_TABLES: Final = (
    "CREATE TABLE batch (id TEXT, created_at REAL)",
    "CREATE TABLE runs (number INTEGER PRIMARY KEY, started_at REAL, ended_at REAL, service TEXT)",
    """
    CREATE TABLE rows (
        place INTEGER PRIMARY KEY, identity TEXT UNIQUE, digest TEXT,
        number INTEGER, line INTEGER, name TEXT, model TEXT, prompt TEXT, params TEXT, refs TEXT,
        client_request_id TEXT, state TEXT, purchase INTEGER, body TEXT, expected_credits, task_id TEXT,
        reserved_credits, final_credits, earlier_credits, urls TEXT, error_code TEXT, error TEXT, duration REAL,
        polls INTEGER, intent_at REAL, submitted_at REAL, ended_at REAL, downloaded_at REAL, files TEXT,
        error_type TEXT, replayed INTEGER DEFAULT 0
    )
    """,
)

LATEST_CREDITS: Final = (
    "coalesce(final_credits, reserved_credits, CASE WHEN body IS NULL THEN NULL ELSE expected_credits END, 0)"
)
"""`RowRecord.latest_credits` in SQL."""

CREDITS: Final = f"earlier_credits + {LATEST_CREDITS}"
"""`RowRecord.credits` in SQL."""

ROW_COLUMNS: Final = ("number", "line", "name", "model", "prompt", "params", "refs", "client_request_id")
RECORD_COLUMNS: Final = tuple(each.name for each in attrs.fields(RowRecord) if each.name not in {"row", "batch_id"})
JSON_COLUMNS: Final = frozenset({"params", "refs", "urls", "files"})

COLUMNS: Final = ("digest", *ROW_COLUMNS, *RECORD_COLUMNS)

INSERT_ROW: Final = (
    f"INSERT INTO rows (identity, {', '.join(COLUMNS)}) VALUES (?{', ?' * len(COLUMNS)}) "
    "ON CONFLICT (identity) DO NOTHING"
)
SELECT_ROWS: Final = f"SELECT place, {', '.join(COLUMNS)} FROM rows"


def create_tables(connection: sqlite3.Connection, batch_id: str, now: float) -> None:
    """Creates the tables in an empty file."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        with connection:
            connection.execute("BEGIN EXCLUSIVE")
            for statement in CREATE_TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO batch VALUES (?, ?)", [batch_id, now])
            connection.execute(f"PRAGMA user_version = {VERSION}")


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raises `JournalError` if the file is no journal of this version."""
    if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
        raise JournalError(f"{path} is no journal of a batch of this version. Choose another file")


def select_batch_id(connection: sqlite3.Connection) -> str:
    """Returns the id of the batch."""
    (batch_id,) = connection.execute("SELECT id FROM batch").fetchone()
    return str(batch_id)


def identity_key(row: Row) -> str:
    """Returns the key of a row. Names that differ only in case share it: some systems give them one file."""
    return row.identity.casefold()


def row_values(row: Row) -> Sequence[Any]:
    """Returns the values of `ROW_COLUMNS`."""
    values = [row.number, row.line, row.name, row.model, row.prompt, row.params, row.references, row.client_request_id]
    return list(map(_to_column, ROW_COLUMNS, values))


def insert_values(record: RowRecord) -> Sequence[Any]:
    """Returns the values of `INSERT_ROW`."""
    values = [_to_column(name, getattr(record, name)) for name in RECORD_COLUMNS]
    return [identity_key(record.row), record.row.digest, *row_values(record.row), *values]


def write_changes(connection: sqlite3.Connection, changes: Mapping[tuple[str, str], Any]) -> None:
    """Writes new values by row and column in one transaction, with one statement for rows that change alike."""
    rows: dict[str, dict[str, Any]] = {}
    for (identity, column), value in changes.items():
        rows.setdefault(identity, {})[column] = _to_column(column, value)
    groups: dict[tuple[str, ...], list[list[Any]]] = {}
    for identity, values in rows.items():
        groups.setdefault(tuple(values), []).append([*values.values(), identity])
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for columns, parameters in groups.items():
            connection.executemany(_update_statement(columns), parameters)


@cache
def _update_statement(columns: tuple[str, ...]) -> str:
    return f"UPDATE rows SET {', '.join(f'{name} = ?' for name in columns)} WHERE identity = ?"


def parse_record(values: Sequence[Any], batch_id: str) -> RowRecord:
    """Returns the record for the values of `SELECT_ROWS` without the place."""
    digest, number, line, name, model, prompt, params, references, client_request_id, *others = values
    row = Row(
        number=number,
        line=line,
        name=name,
        model=model,
        prompt=prompt,
        params=json.loads(params),
        references=_parse_list(references),
        client_request_id=client_request_id,
    )
    row.__dict__["digest"] = digest  # cached as planned: computing it again costs time
    members = dict(zip(RECORD_COLUMNS, others, strict=True))
    members["state"] = JobState(members["state"])
    members["replayed"] = bool(members["replayed"])
    members["urls"] = tuple(_parse_list(members["urls"]))
    members["files"] = tuple(SavedFile(**each) for each in _parse_list(members["files"]))
    return RowRecord(row=row, batch_id=batch_id, **members)


def _parse_list(text: str) -> Sequence[Any]:
    return json.loads(text) if text != "[]" else ()


def _to_column(name: str, value: Any) -> Any:
    """Returns the value as SQLite stores it. A service may send lone surrogates and integers of any size."""
    if name in JSON_COLUMNS:
        value = json.dumps(value, ensure_ascii=False, default=attrs.asdict)
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="replace").decode()
    if isinstance(value, int):
        return max(-MAX_INTEGER, min(value, MAX_INTEGER))
    return value
