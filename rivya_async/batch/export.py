"""What the journal knows of every row, as a file for other programs: JSON Lines, CSV or Parquet. Blocks."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

from .._core.errors import ConfigurationError
from .record import RowRecord

TEXTS: Final = ("name", "model", "prompt", "params", "references", "client_request_id", "state", "key", "task_id")
NUMBERS: Final = (
    "expected_credits", "reserved_credits", "final_credits", "credits", "duration",
    "intent_at", "submitted_at", "ended_at", "downloaded_at",
)  # fmt: skip
COUNTS: Final = ("number", "line", "purchase", "polls")
LISTS: Final = ("urls", "files")
COLUMNS: Final = ("number", "line", *TEXTS, "purchase", *NUMBERS, "polls", "error_code", "error", *LISTS)

GROUP: Final = 5_000
"""Rows that are in memory while a Parquet file is written."""


def flatten_record(record: RowRecord) -> dict[str, Any]:
    """A row in one level: what was asked for beside what became of it. Instants are seconds since the epoch."""
    row = record.row
    return {
        "number": row.number,
        "line": row.line,
        "name": row.name,
        "model": row.model,
        "prompt": row.prompt,
        "params": dict(row.params),
        "references": list(row.references),
        "client_request_id": row.client_request_id,
        "state": str(record.state),
        "key": record.key,
        "task_id": record.task_id,
        "purchase": record.purchase,
        "expected_credits": record.expected_credits,
        "reserved_credits": record.reserved_credits,
        "final_credits": record.final_credits,
        "credits": record.credits,
        "duration": record.duration,
        "intent_at": record.intent_at,
        "submitted_at": record.submitted_at,
        "ended_at": record.ended_at,
        "downloaded_at": record.downloaded_at,
        "polls": record.polls,
        "error_code": record.error_code,
        "error": record.error,
        "urls": list(record.urls),
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in record.files],
    }


def write_json_lines(records: Iterable[RowRecord], target: TextIO) -> None:
    """A line for each row."""
    target.writelines(json.dumps(flatten_record(record), ensure_ascii=False) + "\n" for record in records)


def write_csv(records: Iterable[RowRecord], target: TextIO) -> None:
    """A header and a line for each row; lists and params are JSON. A cell that a spreadsheet would run is quoted."""
    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow([_cell(value) for value in flatten_record(record).values()])


def write_parquet(records: Iterable[RowRecord], target: Path) -> None:
    """One table; lists and params are JSON. Raises `ConfigurationError` without the `parquet` extra."""
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise ConfigurationError("Parquet files are written by pyarrow: pip install 'rivya-async[parquet]'") from None
    types = {
        **dict.fromkeys(COLUMNS, pa.string()),
        **dict.fromkeys(NUMBERS, pa.float64()),
        **dict.fromkeys(COUNTS, pa.int64()),
    }
    schema = pa.schema([(name, types[name]) for name in COLUMNS])
    with ParquetWriter(target, schema) as writer:
        for group in _groups(records):
            rows = [{name: _json(value) for name, value in flatten_record(record).items()} for record in group]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _groups(records: Iterable[RowRecord]) -> Iterator[list[RowRecord]]:
    left = iter(records)
    while group := list(islice(left, GROUP)):
        yield group


def _json(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _cell(value: Any) -> Any:
    value = _json(value)
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
