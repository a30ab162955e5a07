"""Reading a manifest file: JSON Lines or CSV, one line in memory at a time."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from io import BufferedReader, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, Final, TextIO

import attrs

from .._core.errors import ConfigurationError

MAX_LINE_LENGTH: Final = 4 * 1024 * 1024
"""Most characters of a line. A file with a longer line is rejected."""

DELIMITERS: Final = ",;\t"
"""Delimiters of CSV. The most frequent one in the header is used."""


SEPARATOR_LINE: Final = re.compile(r"(?i)\"?sep=([,;\t|])\"?\s*")
"""First line by which a spreadsheet names the delimiter."""

HEAD_BYTES: Final = 512
"""First bytes of a file, from which its kind and encoding are detected."""

GZIP_MAGIC: Final = b"\x1f\x8b"

BOMS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

BINARY_KINDS: Final = {
    b"PK\x03\x04": "an Excel or LibreOffice workbook, or another ZIP file",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\0": "a database, perhaps a journal",
    b"%PDF": "a PDF file",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}
"""Kinds of files that are taken for manifests, by their first bytes."""


@attrs.frozen
class ManifestLine:
    """The fields of one line, or the problem why it has none."""

    line: int
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    problem: str | None = None


def read_manifest_lines(
    path: Path, check_columns: Callable[[Sequence[str]], None], form: str | None = None
) -> Iterator[ManifestLine]:
    """Yields the lines of a file, which may be compressed with gzip: JSON Lines or CSV. Blocks.

    `form` is `csv` or `jsonl`; without it the ending of the name decides, else the first line. `check_columns` receives
    the columns of a CSV file before the first row is read, and may raise. Raises `ConfigurationError` for a file that
    cannot be read, is neither UTF-8 nor UTF-16 with a BOM, has no header, or an unclosed quote.
    """
    try:
        with ExitStack() as stack:
            file: Any = stack.enter_context(path.open("rb"))
            head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
            if head.startswith(GZIP_MAGIC):
                file = stack.enter_context(BufferedReader(gzip.GzipFile(fileobj=file)))
                head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
            text = stack.enter_context(TextIOWrapper(file, _detect_encoding(path, head), newline=""))
            lines = _read_lines(path, text)
            first = next(lines, "")
            if (form or _detect_format(path, first)) == "csv":
                yield from _read_csv(path, chain([first], lines), check_columns)
            else:
                yield from _read_json_lines(path, chain([first], lines))
    except UnicodeError as error:
        raise ConfigurationError(
            f"the manifest {path} is not UTF-8: {getattr(error, 'reason', error)}. It is probably Latin-1 or "
            f"Windows-1252: save it as UTF-8, in Excel as 'CSV UTF-8', or convert it: iconv -f WINDOWS-1252 -t UTF-8"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(
            f"the manifest {path} cannot be read: {getattr(error, 'strerror', '') or error}"
        ) from None


def _detect_encoding(path: Path, head: bytes) -> str:
    """Returns the encoding of a text. Raises `ConfigurationError` for a file of another kind."""
    for magic, kind in BINARY_KINDS.items():
        if head.startswith(magic):
            raise ConfigurationError(f"{path} is {kind}, no manifest: save it as CSV in UTF-8, or as JSON Lines")
    for bom, encoding in BOMS.items():
        if head.startswith(bom):
            return encoding
    if b"\0" in head:
        raise ConfigurationError(f"{path} is binary, or UTF-16 without a BOM: save it as UTF-8")
    return "utf-8-sig"


def _detect_format(path: Path, first: str) -> str:
    """Returns `csv` or `jsonl`, by the ending of the name, or else by the first line."""
    suffix = Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()
    if suffix in {".csv", ".tsv"}:
        return "csv"
    names = {name.strip(' "\r\n') for name in re.split(f"[{DELIMITERS}]", first)}
    is_header = bool(names & {"model", "prompt"}) or SEPARATOR_LINE.fullmatch(first) is not None
    return "csv" if is_header and suffix not in {".jsonl", ".ndjson", ".json"} else "jsonl"


def _read_lines(path: Path, file: TextIO) -> Iterator[str]:
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
    separator = SEPARATOR_LINE.fullmatch(header)
    if separator is not None:  # Excel writes and reads such a line
        header = next(lines, "")
    skipped = int(separator is not None)
    delimiter = separator[1] if separator else max(DELIMITERS, key=header.count)
    reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    columns = _parse_header(path, reader)
    check_columns(columns)
    while True:
        line = reader.line_num + 1 + skipped
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num + skipped > line:  # the number of rows in these lines is unknown, and rows are numbered
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
