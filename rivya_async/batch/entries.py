"""What stands in a manifest, line by line, whatever it means. One line is in memory at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

import attrs

from .._core.errors import ConfigurationError

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Characters of a line. What is longer is no manifest."""

DELIMITERS: Final = ",;\t"


@attrs.frozen
class Entry:
    """One line: its fields, or why it has none."""

    line: int
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    problem: str | None = None


def entries(path: Path) -> Iterator[Entry]:
    """The entries of a file: JSON Lines, or CSV if its name ends with `.csv` or `.tsv`. Blocks as it reads.

    Raises `ConfigurationError` for a file that cannot be read, is not UTF-8, or has no header.
    """
    read = _csv_entries if path.suffix.lower() in {".csv", ".tsv"} else _json_entries
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from read(path, file)
    except OSError as error:
        raise ConfigurationError(f"the manifest {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the manifest {path} is not UTF-8 ({error.reason}): save it as UTF-8") from None


def _json_entries(path: Path, file: TextIOWrapper) -> Iterator[Entry]:
    for line, text in _lines(path, file):
        if text.strip():
            yield _json_entry(line, text)


def _json_entry(line: int, text: str) -> Entry:
    try:
        fields = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return Entry(line, problem=f"it is no JSON: {error}")
    if not isinstance(fields, dict):
        return Entry(line, problem="it must be a JSON object, with members such as model and prompt")
    return Entry(line, fields)


def _no_number(literal: str) -> float:
    raise ValueError(f"{literal} is no JSON number")


def _csv_entries(path: Path, file: TextIOWrapper) -> Iterator[Entry]:
    header = next(_lines(path, file), (1, ""))[1]
    delimiter = max(DELIMITERS, key=header.count)
    columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
    if "" in columns or len({*columns}) < len(columns) or not columns:
        raise ConfigurationError(
            f"the first line of {path} must name the columns, each once, such as model,prompt,params.aspect_ratio"
        )
    reader = csv.reader((text for _, text in _lines(path, file)), delimiter=delimiter, strict=True)
    began = 2
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ConfigurationError(f"{path}, line {began}: {error}; check its quotes") from None
        if len(cells) > len(columns):
            yield Entry(began, problem=f"it has {len(cells)} cells, and there are {len(columns)} columns")
        elif any(cells):
            yield Entry(began, {column: cell for column, cell in zip(columns, cells, strict=False) if cell})
        began = 2 + reader.line_num


def _lines(path: Path, file: TextIOWrapper) -> Iterator[tuple[int, str]]:
    line = 0
    while text := file.readline(LONGEST_LINE):
        line += 1
        if len(text) == LONGEST_LINE:
            raise ConfigurationError(f"{path}, line {line} has over {LONGEST_LINE:,} characters: this is no manifest")
        yield line, text
