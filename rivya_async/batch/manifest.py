"""A file of jobs that are wanted: every line of it is a row, or says what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._core.catalogue.validation import MAX_SUGGESTED_NAMES, closest_matches, suggestion_text, unknown_model_problem
from .._core.errors import ConfigurationError
from .._core.generation_request import check_client_request_id
from .bad_row import BadRow
from .entries import Entry, entries, loads
from .names import Names
from .reference import as_reference, file_problem
from .row import Row, checked_name
from .template import Template, no_value

if TYPE_CHECKING:
    from .._core.catalogue.model import Model

MEMBERS: Final = ("model", "prompt", "params", "references", "client_request_id", "name")
COLUMNS: Final = (*MEMBERS, "params.KEY")
PARAM: Final = "params."
OWN: Final = "_"
"""Columns whose names begin so are the user's own, and mean nothing here."""


class Manifest:
    r"""The rows of a file, read anew each time it is iterated, with little in memory. Iterating blocks as it reads.

    JSON Lines, or CSV if the name ends with `.csv` or `.tsv` (comma, semicolon or tab, as its first line has it), in
    UTF-8. A row has a `model`, a `prompt`, `params` (in CSV a column for each, such as `params.aspect_ratio`; a cell
    that is a JSON list or object is taken as one), `references` (paths or URLs; in CSV with `|` between them), a
    `client_request_id`, and a `name`, which is that of its files. Columns beginning with `_` are for the user's own
    use; any other is a mistake, unless `fill` has a field of its name.

    `fill` has values for rows that have none: `{"model": "z-image", "prompt": "A {colour} kite"}`. With `models`, the
    catalogue, each row is checked as `Model.check` does it, and its files as their upload would be.

    Raises `ConfigurationError` at once for what is wrong with `fill`; as it is iterated for a file that cannot be read,
    a column of a CSV file that is none, or a quote in it whose end is not found.

    >>> from rivya_async.batch import BadRow, Manifest
    >>> _ = Path("kites.jsonl").write_text('{"prompt": "A red kite"}\n{"promt": "A slip"}\n')
    >>> [row if isinstance(row, BadRow) else row.prompt for row in Manifest("kites.jsonl", fill={"model": "z-image"})]
    ['A red kite', BadRow(line=2, problems=("there is no column 'promt' (did you mean 'prompt'?)",))]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fill: Mapping[str, str] | None = None,
        models: Mapping[str, Model] | None = None,
    ) -> None:
        self.path = Path(path)
        self._models = models
        self._fill = {column: Template(text) for column, text in (fill or {}).items()}
        self._fields = {field for template in self._fill.values() for field in template.fields}
        unknown = [column for column in self._fill if not _is_known(column)]
        if unknown:
            raise ConfigurationError("; ".join(_no_columns(unknown)))
        if "params" in self._fill:
            raise ConfigurationError("params cannot be filled in as a whole: fill in each of them as params.KEY")

    def __iter__(self) -> Iterator[Row | BadRow]:
        with Names() as names:
            for number, entry in enumerate(entries(self.path, self._check_columns), 1):
                yield names.checked(self._row(number, entry))

    def _check_columns(self, columns: Sequence[str]) -> None:
        problems = [
            f"{column}: {no_value(field, columns)}"
            for column, template in self._fill.items()
            for field in template.fields
            if column not in columns and field not in columns
        ]
        problems.extend(_no_columns([name for name in columns if not self._may_be(name)]))
        if problems:
            raise ConfigurationError(f"the first line of {self.path}: {'; '.join(problems)}")

    def _row(self, number: int, entry: Entry) -> Row | BadRow:
        row, problems = self._read(number, entry)
        if row is not None and self._models is not None:
            problems.extend(_problems(self._models, row))
        return BadRow(entry.line, tuple(problems), row) if row is None or problems else row

    def _read(self, number: int, entry: Entry) -> tuple[Row | None, list[str]]:
        """The row, or why it is none."""
        if entry.problem is not None:
            return None, [entry.problem]
        problems = list(_no_columns([name for name in entry.fields if not self._may_be(name)]))
        filled = self._filled(entry.fields, _columns(entry.fields, problems), problems)
        parts = _parts(filled, problems)
        if problems:
            return None, problems
        row = Row(number=number, line=entry.line, **parts)
        try:
            _ = row.digest
        except ConfigurationError as error:
            return None, [str(error)]
        return row, []

    def _may_be(self, column: str) -> bool:
        return _is_known(column) or column.startswith(OWN) or column in self._fields

    def _filled(self, fields: Mapping[str, Any], columns: dict[str, Any], problems: list[str]) -> dict[str, Any]:
        for column, template in self._fill.items():
            if column not in columns:
                try:
                    columns[column] = _typed(column, template.filled(fields))
                except ConfigurationError as error:
                    problems.append(f"{column}: {error}")
        return columns


def _is_known(column: str) -> bool:
    return column in MEMBERS or (column.startswith(PARAM) and column != PARAM)


def _no_columns(names: Sequence[str]) -> Iterator[str]:
    """What is said of columns that mean nothing."""
    strange = []
    for name in names:
        meant = closest_matches(name, COLUMNS)
        if meant:
            yield f"there is no column {name!r:.80} {suggestion_text(meant, COLUMNS)}"
        else:
            strange.append(f"{name!r:.80}")
    if strange:
        yield (
            f"there is no column {' or '.join(strange[:MAX_SUGGESTED_NAMES])} {suggestion_text((), COLUMNS)}; "
            f"those that are for you alone begin with {OWN!r}, and others are fields of what is filled in"
        )


def _columns(fields: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The fields that mean something, with a column for each of the params wherever it stood."""
    columns = {name: _typed(name, value) for name, value in fields.items() if value is not None and _is_known(name)}
    params = columns.pop("params", {})
    if not isinstance(params, dict):
        problems.append(f'params must be an object, such as {{"seed": 7}}, not {json.dumps(params)[:80]}')
        return columns
    for key, value in params.items():
        if PARAM + key in columns:
            problems.append(f"params has {key!r:.80}, and so has the column {PARAM + key!r:.80}: give it once")
        columns[PARAM + key] = value
    return columns


def _typed(column: str, value: Any) -> Any:
    """A list or object where params or references are text that is one in JSON; else the value itself."""
    may_be = column in {"params", "references"} or column.startswith(PARAM)
    if not may_be or not isinstance(value, str) or value.lstrip()[:1] not in {"[", "{"}:
        return value
    try:
        return loads(value)
    except (ValueError, RecursionError):
        return value


def _parts(fields: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The arguments of `Row`; what is wrong with one is added to the problems."""
    parts: dict[str, Any] = {
        "model": fields.get("model"),
        "prompt": fields.get("prompt"),
        "params": {name.removeprefix(PARAM): value for name, value in fields.items() if name.startswith(PARAM)},
        "references": _references(fields.get("references"), problems),
        "client_request_id": fields.get("client_request_id"),
        "name": fields.get("name"),
    }
    problems.extend(
        f"{name} must be text, not {json.dumps(parts[name])[:80]}"
        for name in ("model", "prompt", "client_request_id", "name")
        if parts[name] is not None and not isinstance(parts[name], str)
    )
    if not parts["model"]:
        problems.append("model is missing: name one, or fill it in for all rows")
    if not problems:
        problems.extend(_wrong_names(parts["client_request_id"], parts["name"]))
    return parts


def _wrong_names(client_request_id: str | None, name: str | None) -> Iterator[str]:
    try:
        check_client_request_id(client_request_id)
    except ConfigurationError as error:
        yield str(error)
    try:
        if name is not None:
            checked_name(name)
    except ConfigurationError as error:
        yield str(error)


def _references(given: Any, problems: list[str]) -> Sequence[str]:
    if isinstance(given, str):
        given = [each.strip() for each in given.split("|") if each.strip()]
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
        problems.append(f"references must be a list of paths or URLs, not {json.dumps(given)[:80]}")
        return ()
    return tuple(given)


def _problems(models: Mapping[str, Model], row: Row) -> Iterator[str]:
    """What the catalogue and the disk say of a job."""
    if row.model not in models:
        yield unknown_model_problem(row.model, models).message
        return
    model = models[row.model]
    references = []
    for text in row.references:
        try:
            reference = as_reference(text)
        except ConfigurationError as error:
            yield str(error)
            continue
        references.append(reference)
        problem = file_problem(reference, model) if isinstance(reference, Path) else None
        if problem is not None:
            yield problem
    for each in model.problems(row.prompt, model.coerce(row.params), references):
        yield each.message
