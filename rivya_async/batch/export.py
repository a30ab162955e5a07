"""Writing every row of a journal to a file: JSON Lines, CSV or Parquet. Blocks."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

from .._core.errors import ConfigurationError
from .row import RowRecord

TEXTS: Final = ("name", "model", "prompt", "params", "references", "client_request_id", "state", "key", "task_id")
NUMBERS: Final = (
    "expected_credits", "reserved_credits", "final_credits", "credits", "duration",
    "intent_at", "submitted_at", "ended_at", "downloaded_at",
)  # fmt: skip
INTEGERS: Final = ("number", "line", "purchase", "polls")
COLUMNS: Final = (
    "number",
    "line",
    *TEXTS,
    "purchase",
    *NUMBERS,
    "polls",
    "replayed",
    "error_code",
    "error_type",
    "error",
    "urls",
    "files",
)

FORMULA: Final = re.compile(r"[\s\x00-\x20\u200b-\u200f\ufeff\"';,]*[=+\-@|%\uff1d\uff0b\uff0d\uff20\u2212]|[\t\r\n]")
"""Beginning of a cell that a spreadsheet may execute: a sign of a formula, also full-width, or after blanks."""

PARQUET_GROUP_ROWS: Final = 5_000
"""Rows in memory while a Parquet file is written."""


def flatten_record(record: RowRecord) -> dict[str, Any]:
    """Returns the members of a row and of its record in one dict. Times are seconds since the epoch."""
    values: dict[str, Any] = {
        name: getattr(record.row if hasattr(record.row, name) else record, name) for name in COLUMNS
    }
    return values | {
        "params": dict(record.row.params),
        "references": list(record.row.references),
        "state": str(record.state),
        "urls": list(record.urls),
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in record.files],
    }


def write_json_lines(records: Iterable[RowRecord], target: TextIO) -> None:
    """Writes a JSON object per row."""
    target.writelines(json.dumps(flatten_record(record), ensure_ascii=False) + "\n" for record in records)


def write_csv(records: Iterable[RowRecord], target: TextIO, *, is_excel: bool = False) -> None:
    """Writes a header and a line per row; lists and params are JSON. All cells are quoted.

    A cell that a spreadsheet would execute begins with an apostrophe. `is_excel` begins the file with a BOM, by which
    Excel detects UTF-8.
    """
    if is_excel:
        target.write("\ufeff")
    writer = csv.writer(target, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow([_to_cell(value) for value in flatten_record(record).values()])


def write_parquet(records: Iterable[RowRecord], target: Path) -> None:
    """Writes one table; lists and params are JSON. Raises `ConfigurationError` without the extra `parquet`."""
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise ConfigurationError("Parquet files are written by pyarrow: pip install 'rivya-async[parquet]'") from None
    types = {
        **dict.fromkeys(COLUMNS, pa.string()),
        **dict.fromkeys(NUMBERS, pa.float64()),
        **dict.fromkeys(INTEGERS, pa.int64()),
        "replayed": pa.bool_(),
    }
    schema = pa.schema([(name, types[name]) for name in COLUMNS])
    remaining = iter(records)
    with ParquetWriter(target, schema) as writer:
        while group := list(islice(remaining, PARQUET_GROUP_ROWS)):
            rows = [{name: _to_json(value) for name, value in flatten_record(record).items()} for record in group]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Provides a path to write to, which replaces `target` at the end, and is deleted after an error.

    A symbolic link stays a link; a device or a pipe is written to directly. Raises `OSError` where no file can be.
    """
    path = Path(os.path.realpath(target))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder: name a file", str(target))
    if path.exists() and not path.is_file():
        yield path
        return
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _to_json(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _to_cell(value: Any) -> Any:
    value = _to_json(value)
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
