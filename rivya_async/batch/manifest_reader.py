"""Reading a manifest file: JSON Lines or CSV, one line in memory at a time."""

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

MAX_LINE_LENGTH: Final = 4 * 1024 * 1024
"""Most characters of a line. A file with a longer line is rejected."""

DELIMITERS: Final = ",;\t"
"""Delimiters of CSV. The most frequent one in the header is used."""


@attrs.frozen
class ManifestLine:
    """The fields of one line, or the problem why it has none."""

    line: int
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    problem: str | None = None


def read_manifest_lines(path: Path, check_columns: Callable[[Sequence[str]], None]) -> Iterator[ManifestLine]:
    """Yields the lines of a file: CSV if its name ends with `.csv` or `.tsv`, else JSON Lines. Blocks.

    `check_columns` receives the columns of a CSV file before the first row is read, and may raise. Raises
    `ConfigurationError` for a file that cannot be read, is not UTF-8, has no header, or an unclosed quote.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _read_lines(path, file)
            if path.suffix.lower() in {".csv", ".tsv"}:
                yield from _read_csv(path, lines, check_columns)
            else:
                yield from _read_json_lines(path, lines)
    except OSError as error:
        raise ConfigurationError(f"the manifest {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the manifest {path} is not UTF-8: {error.reason}. Save it as UTF-8") from None


def _read_lines(path: Path, file: TextIOWrapper) -> Iterator[str]:
    line = 0
    while text := file.readline(MAX_LINE_LENGTH):
        line += 1
        if len(text) == MAX_LINE_LENGTH:
            raise ConfigurationError(
                f"{path} is no manifest: line {line} has over {MAX_LINE_LENGTH:,} characters. Choose another file"
            )
        yield text


def _read_json_lines(path: Path, lines: Iterator[str]) -> Iterator[ManifestLine]:
    is_first = True
    for line, text in enumerate(lines, 1):
        if text.strip():
            if is_first and text.lstrip().startswith("["):
                raise ConfigurationError(
                    f"{path} begins as one JSON array. Write each row as an object on a line of its own, "
                    "as `jq -c '.[]'` does"
                )
            is_first = False
            yield _parse_line(line, text)


def _parse_line(line: int, text: str) -> ManifestLine:
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
    """Returns the value of a JSON text. Raises `ValueError` if it is ambiguous, or cannot be sent."""
    return _strict_decoder.decode(text)


def _parse_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(members)
    if len(values) < len(members):
        names = [name for name, _ in members]
        duplicate = next(name for name in values if names.count(name) > 1)
        raise ValueError(f"it has {duplicate!r:.80} twice")
    return values


def _parse_number(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal:.80} is no number that can be sent")
    return number


_strict_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_parse_object, parse_float=_parse_number, parse_constant=_parse_number
)


def _read_csv(
    path: Path, lines: Iterator[str], check_columns: Callable[[Sequence[str]], None]
) -> Iterator[ManifestLine]:
    header = next(lines, "")
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    columns = _parse_header(path, reader)
    check_columns(columns)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num > line:  # the number of rows in these lines is unknown, and rows are numbered
                raise ConfigurationError(
                    f"{path}: a quote is opened in line {line} and not closed correctly: {error}. Close it"
                ) from None
            yield ManifestLine(line, problem=f"it is no CSV: {error}")
            continue
        if any(cells[len(columns) :]):
            yield ManifestLine(line, problem=f"it has {len(cells)} cells, and there are {len(columns)} columns")
        elif any(cells):
            yield ManifestLine(line, {column: cell for column, cell in zip(columns, cells, strict=False) if cell})


def _parse_header(path: Path, reader: Iterator[list[str]]) -> Sequence[str]:
    try:
        columns = [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise ConfigurationError(f"the first line of {path} is no CSV: {error}") from None
    while columns and not columns[-1]:  # spreadsheets fill every line up to the longest one
        columns.pop()
    if "" in columns or len({*columns}) < len(columns) or not columns:
        raise ConfigurationError(
            f"the first line of {path} must name the columns, each once, such as model,prompt,params.aspect_ratio"
        )
    return columns
