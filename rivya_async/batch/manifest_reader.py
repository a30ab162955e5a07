"""What stands in a manifest, line by line, whatever it means. One line is in memory at a time."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, Final

import attrs

from .._core.errors import ConfigurationError

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Characters of a line. What is longer is no manifest."""

DELIMITERS: Final = ",;\t"


@attrs.frozen
class ManifestLine:
    """One line: its fields, or why it has none."""

    line: int
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    problem: str | None = None


def read_manifest_lines(path: Path, check_columns: Callable[[Sequence[str]], None]) -> Iterator[ManifestLine]:
    """The entries of a file: JSON Lines, or CSV if its name ends with `.csv` or `.tsv`. Blocks as it reads.

    `check_columns` is asked of the columns of a CSV file before its first row. Raises what it raises, and
    `ConfigurationError` for a file that cannot be read, is not UTF-8, has no header, or a quote that is not closed.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _lines(path, file)
            if path.suffix.lower() in {".csv", ".tsv"}:
                yield from _csv_entries(path, lines, check_columns)
            else:
                yield from _json_entries(path, lines)
    except OSError as error:
        raise ConfigurationError(f"the manifest {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the manifest {path} is not UTF-8 ({error.reason}): save it as UTF-8") from None


def _json_entries(path: Path, lines: Iterator[str]) -> Iterator[ManifestLine]:
    is_first = True
    for line, text in enumerate(lines, 1):
        if text.strip():
            if is_first and text.lstrip().startswith("["):
                raise ConfigurationError(
                    f"{path} begins as one JSON array: write each row as an object on a line of its own, "
                    f"as `jq -c '.[]'` does"
                )
            is_first = False
            yield _json_entry(line, text)


def _json_entry(line: int, text: str) -> ManifestLine:
    try:
        fields = parse_json(text.rstrip())
    except json.JSONDecodeError as error:
        return ManifestLine(line, problem=f"it is no JSON: {error.msg}, at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return ManifestLine(line, problem=f"it is no JSON: {error}")
    if not isinstance(fields, dict):
        return ManifestLine(line, problem="it must be a JSON object, with members such as model and prompt")
    return ManifestLine(line, fields)


def parse_json(text: str) -> Any:
    """What a JSON text holds. Raises `ValueError` for what could be meant in two ways, or cannot be sent."""
    return _strict.decode(text)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice!r:.80} stands in it twice")
    return found


def _number(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal:.80} is no number that can be sent")
    return number


_strict: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_number)


def _csv_entries(
    path: Path, lines: Iterator[str], check_columns: Callable[[Sequence[str]], None]
) -> Iterator[ManifestLine]:
    header = next(lines, "")
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    columns = _columns(path, reader)
    check_columns(columns)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num > line:  # how many rows these lines are is not known, and rows are known by number
                raise ConfigurationError(
                    f"{path}: a quote is opened in line {line} and not closed as it should be ({error})"
                ) from None
            yield ManifestLine(line, problem=f"it is no CSV: {error}")
            continue
        if any(cells[len(columns) :]):
            yield ManifestLine(line, problem=f"it has {len(cells)} cells, and there are {len(columns)} columns")
        elif any(cells):
            yield ManifestLine(line, {column: cell for column, cell in zip(columns, cells, strict=False) if cell})


def _columns(path: Path, reader: Iterator[list[str]]) -> Sequence[str]:
    try:
        columns = [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise ConfigurationError(f"the first line of {path} is no CSV: {error}") from None
    while columns and not columns[-1]:  # spreadsheets fill lines up to their longest
        columns.pop()
    if "" in columns or len({*columns}) < len(columns) or not columns:
        raise ConfigurationError(
            f"the first line of {path} must name the columns, each once, such as model,prompt,params.aspect_ratio"
        )
    return columns


def _lines(path: Path, file: TextIOWrapper) -> Iterator[str]:
    line = 0
    while text := file.readline(LONGEST_LINE):
        line += 1
        if len(text) == LONGEST_LINE:
            raise ConfigurationError(f"{path}, line {line} has over {LONGEST_LINE:,} characters: this is no manifest")
        yield text
