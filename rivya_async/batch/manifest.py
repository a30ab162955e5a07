"""The rows of a manifest, checked, with default values from templates."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Final, Literal

from .._core.catalogue.validation import MAX_SUGGESTED_NAMES, closest_matches, suggestion_text
from .._core.errors import ConfigurationError
from .._core.generation_request import check_client_request_id
from .manifest_reader import ManifestLine, parse_json, read_manifest_lines
from .row import InvalidRow, Row, duplicate_name_problem, validate_name
from .row_reference import find_outside, find_problems
from .schema import identity_key

if TYPE_CHECKING:
    from .._core.catalogue.model import Model

MEMBERS: Final = ("model", "prompt", "params", "references", "client_request_id", "name")
COLUMNS: Final = (*MEMBERS, "params.KEY")
PARAM_PREFIX: Final = "params."
IGNORED_PREFIX: Final = "_"
"""Prefix of columns for the user's own data."""


class Manifest:
    r"""The rows of a file, which is read each time it is iterated, with little of it in memory. Iterating blocks.

    The file is JSON Lines, or CSV if its name ends with `.csv` or `.tsv`, with comma, semicolon or tab, in UTF-8 or in
    UTF-16 with a BOM, and may be compressed with gzip. Other names need `format`, or a first line that shows it. A row
    has a `model`, a `prompt`, `params`, `references` (paths or URLs), a `client_request_id`, and a `name`, which names
    its files. In CSV each param has a column such as `params.aspect_ratio`, a cell that holds a JSON list or object is
    parsed, and `|` separates references. Columns that begin with `_` are ignored. Other columns are errors, unless
    `fill` has a field of that name.

    `fill` has default values: `{"model": "z-image", "prompt": "A {colour} kite"}`. With `models`, the catalogue, each
    row is checked as `Model.check` does, and its files as an upload would. With `reference_root`, a row whose local
    references are outside this folder is invalid. Set it for a manifest that others wrote: otherwise its references may
    name any media file of this machine.

    Raises `ConfigurationError` at once for an invalid `fill`. Iterating raises it for a file that cannot be read, an
    unknown column of a CSV file, or an unclosed quote in it.

    >>> from rivya_async.batch import InvalidRow, Manifest
    >>> _ = Path("kites.jsonl").write_text('{"prompt": "A red kite"}\n{"promt": "A slip"}\n')
    >>> for row in Manifest("kites.jsonl", fill={"model": "z-image"}):
    ...     print(row if isinstance(row, InvalidRow) else row.prompt)
    A red kite
    InvalidRow(line=2, problems=("there is no column 'promt' (did you mean 'prompt'?)",))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fill: Mapping[str, str] | None = None,
        models: Mapping[str, Model] | None = None,
        format: Literal["csv", "jsonl"] | None = None,  # noqa: A002  the word for it
        reference_root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.path = Path(path)
        """Path of the file."""
        self._format = format
        self._root = None if reference_root is None else Path(reference_root).resolve()
        self._models = models
        self._fill = {column: Template(text) for column, text in (fill or {}).items()}
        self._fields = {field for template in self._fill.values() for field in template.fields}
        unknown = [column for column in self._fill if not _has_meaning(column)]
        if unknown:
            raise ConfigurationError("; ".join(_unknown_columns(unknown)))
        if "params" in self._fill:
            raise ConfigurationError("params cannot be filled in as a whole: fill in each of them as params.KEY")

    def __iter__(self) -> Iterator[Row | InvalidRow]:
        lines = read_manifest_lines(self.path, self._check_columns, self._format)
        return reject_duplicate_names(self._parse(number, line) for number, line in enumerate(lines, 1))

    def _check_columns(self, columns: Sequence[str]) -> None:
        problems = [
            f"{column}: {_missing_value(field, columns)}"
            for column, template in self._fill.items()
            for field in template.fields
            if column not in columns and field not in columns
        ]
        problems.extend(_unknown_columns(name for name in columns if not self._is_allowed(name)))
        if problems:
            raise ConfigurationError(f"the first line of {self.path}: {'; '.join(problems)}")

    def _parse(self, number: int, line: ManifestLine) -> Row | InvalidRow:
        if line.problem is not None:
            return InvalidRow(line.line, (line.problem,))
        problems = list(_unknown_columns(name for name in line.fields if not self._is_allowed(name)))
        columns = _flatten_params(line.fields, problems)
        self._fill_in(columns, line.fields, problems)
        members = _parse_members(columns, problems)
        if problems:
            return InvalidRow(line.line, tuple(problems))
        row = Row(number=number, line=line.line, **members)
        try:
            _ = row.digest
        except ConfigurationError as error:
            return InvalidRow(line.line, (str(error),))
        problems.extend(() if self._root is None else find_outside(row, self._root))
        if problems:
            return InvalidRow(line.line, tuple(problems))
        problems.extend(() if self._models is None else find_problems(row, self._models))
        return InvalidRow(line.line, tuple(problems), row) if problems else row

    def _is_allowed(self, column: str) -> bool:
        return _has_meaning(column) or column.startswith(IGNORED_PREFIX) or column in self._fields

    def _fill_in(self, columns: dict[str, Any], fields: Mapping[str, Any], problems: list[str]) -> None:
        for column, template in self._fill.items():
            if column not in columns:
                try:
                    columns[column] = _parse_cell(column, template.render(fields))
                except ConfigurationError as error:
                    problems.append(f"{column}: {error}")


class Template:
    """Text with the names of columns in braces. Doubled braces are literal; attributes of a value are not accessible.

    Raises `ConfigurationError` for invalid text.

    >>> Template("A {colour} kite").render({"colour": "red"})
    'A red kite'
    """

    def __init__(self, text: str) -> None:
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise ConfigurationError(f"{text!r:.80} is no template: {error}; write {{{{ for a literal brace") from None
        for _, field, spec, conversion in parts:
            if field is not None and (not field.strip() or spec or conversion or set(field) & set(".[")):
                shown = f"{{{field}}}"
                raise ConfigurationError(f"{shown:.80} in {text!r:.80} is no field: put the name of a column in braces")
        self._parts = [(text, field) for text, field, _, _ in parts]
        self.fields = tuple(field for _, field in self._parts if field is not None)

    def render(self, values: Mapping[str, Any]) -> str:
        """Returns the text with values. Raises `ConfigurationError` for a field without one, or with a list."""
        for field in self.fields:
            if values.get(field) is None:
                raise ConfigurationError(_missing_value(field, values))
            if isinstance(values[field], dict | list):
                raise ConfigurationError(f"{{{field}}} is no text or number, which a template could show")
        return "".join(text + ("" if field is None else str(values[field])) for text, field in self._parts)


def reject_duplicate_names(rows: Iterable[Row | InvalidRow]) -> Iterator[Row | InvalidRow]:
    """Yields the rows, with an invalid one for each whose name an earlier row has. Names are kept on the disk."""
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as index:  # a temporary file
        index.execute("PRAGMA journal_mode = OFF")
        index.execute("CREATE TABLE names (name TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        index.execute("BEGIN")
        for each in rows:
            row = each.row if isinstance(each, InvalidRow) else each
            if row is not None and row.name is not None:
                key = identity_key(row)
                if not index.execute(
                    "INSERT INTO names VALUES (?, ?) ON CONFLICT DO NOTHING", (key, row.line)
                ).rowcount:
                    (line,) = index.execute("SELECT line FROM names WHERE name = ?", (key,)).fetchone()
                    yield InvalidRow(row.line, (duplicate_name_problem(row.identity, line),))
                    continue
            yield each


def _has_meaning(column: str) -> bool:
    return column in MEMBERS or (column.startswith(PARAM_PREFIX) and column != PARAM_PREFIX)


def _missing_value(field: str, names: Iterable[str]) -> str:
    names = list(names)
    return f"there is no value for {{{field}}} {suggestion_text(closest_matches(field, names), names)}"


def _unknown_columns(names: Iterable[str]) -> Iterator[str]:
    unlike = []
    for name in names:
        suggestions = closest_matches(name, COLUMNS)
        if suggestions:
            yield f"there is no column {name!r:.80} {suggestion_text(suggestions, COLUMNS)}"
        else:
            unlike.append(f"{name!r:.80}")
    if unlike:
        yield (
            f"there is no column {' or '.join(unlike[:MAX_SUGGESTED_NAMES])}: usable are {', '.join(MEMBERS)} and "
            f"{PARAM_PREFIX}KEY for the param KEY of a model. To keep a column of your own, use it as a field of a "
            f"default value (prompt=A {{colour}} kite), or begin its name with {IGNORED_PREFIX!r}"
        )


def _flatten_params(fields: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Returns the fields with a meaning, each param in a column of its own."""
    columns = {
        name: _parse_cell(name, value) for name, value in fields.items() if value is not None and _has_meaning(name)
    }
    params = columns.pop("params", {})
    if not isinstance(params, dict):
        problems.append(f'params must be an object, such as {{"seed": 7}}, not {json.dumps(params)[:80]}')
        return columns
    for key, value in params.items():
        if PARAM_PREFIX + key in columns:
            problems.append(f"params has {key!r:.80}, and so has the column {PARAM_PREFIX + key!r:.80}: give it once")
        columns[PARAM_PREFIX + key] = value
    return columns


def _parse_cell(column: str, value: Any) -> Any:
    """Returns the list or object where params or references hold one as JSON text, else the value."""
    may_be_json = column in {"params", "references"} or column.startswith(PARAM_PREFIX)
    if not may_be_json or not isinstance(value, str) or value.lstrip()[:1] not in {"[", "{"}:
        return value
    try:
        return parse_json(value)
    except (ValueError, RecursionError):
        return value


def _parse_members(columns: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Returns the arguments of `Row`, and adds to the problems."""
    members: dict[str, Any] = {
        **{name: columns.get(name) for name in ("model", "prompt", "client_request_id", "name")},
        "params": {
            name.removeprefix(PARAM_PREFIX): value for name, value in columns.items() if name.startswith(PARAM_PREFIX)
        },
        "references": _split_references(columns.get("references"), problems),
    }
    problems.extend(
        f"{name} must be text, not {json.dumps(members[name])[:80]}"
        for name in ("model", "prompt", "client_request_id", "name")
        if members[name] is not None and not isinstance(members[name], str)
    )
    if not members["model"]:
        problems.append("model is missing: name one, or give a default for all rows")
    if not problems:
        for name, validate in (("client_request_id", check_client_request_id), ("name", validate_name)):
            try:
                if members[name] is not None:
                    validate(members[name])
            except ConfigurationError as error:
                problems.append(str(error))
    return members


def _split_references(value: Any, problems: list[str]) -> Sequence[str]:
    if isinstance(value, str):
        value = [each.strip() for each in value.split("|") if each.strip()]
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        problems.append(f"references must be a list of paths or URLs, not {json.dumps(value)[:80]}")
        return ()
    return tuple(value)
