"""A row of a manifest: one job to purchase, and the name that identifies it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import attrs

from .._core.errors import ConfigurationError
from .._core.files.filenames import safe_stem

GENERATED_NAME: Final = re.compile(r"(?i)row-\d+|.*\.\d+", re.DOTALL)
"""Names of rows without a name, and of the files of a row that has several."""


def _copy_params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(params)


def _parse_references(references: Iterable[str | os.PathLike[str]]) -> Sequence[str]:
    try:
        if not isinstance(references, str):
            return tuple(os.fspath(each) for each in references)
    except TypeError:
        pass
    raise ConfigurationError(f"references must be a list of paths or URLs, not {references!r:.80}")


@attrs.frozen(kw_only=True, slots=False)
class Row:
    """A job of a manifest. `number` counts the rows from 1, `line` is its line in the file.

    `references` are paths or URLs. `name` is the name of its files and unique in a batch. Raises `ConfigurationError`
    for a name that is not valid on every system.

    >>> Row(number=7, line=8, model="z-image", prompt="A red kite").identity
    'row-000007'
    """

    number: int
    line: int
    model: str
    """Id of the model."""
    prompt: str | None = None
    """Text of the prompt."""
    params: Mapping[str, Any] = attrs.field(factory=dict, hash=False, converter=_copy_params)
    """Parameters of the model."""
    references: Sequence[str] = attrs.field(default=(), converter=_parse_references)
    client_request_id: str | None = None
    """Your id of the job."""
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.name is not None:
            validate_name(self.name)

    @cached_property
    def digest(self) -> str:
        """A hash of everything that is purchased: all members except name, number and line.

        Raises `ConfigurationError` for values that cannot be sent.
        """
        content = [self.model, self.prompt, self.params, self.references, self.client_request_id]
        try:
            text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"it cannot be sent as JSON: {error}") from None
        try:
            return hashlib.sha256(text.encode()).hexdigest()
        except UnicodeEncodeError:
            raise ConfigurationError("it holds half of a character (a lone surrogate), which cannot be sent") from None

    @property
    def identity(self) -> str:
        """The name, or one made of the number. The batch recognises the row by it."""
        return self.name or f"row-{self.number:06}"


@attrs.frozen
class InvalidRow:
    """A line of a manifest that cannot be purchased, with all of its problems.

    `row` is the parsed row if only the catalogue or a file is against it, else None.
    """

    line: int
    """Line in the manifest."""
    problems: tuple[str, ...]
    """Every problem of the row."""
    row: Row | None = attrs.field(default=None, eq=False, repr=False)


def duplicate_name_problem(name: str, line: int) -> str:
    """Returns the problem of a row whose name another line has."""
    return f"it has the name {name!r}, and so has line {line}: give each its own"


def validate_name(name: str) -> str:
    """Returns the name.

    Raises `ConfigurationError` if it is not valid on every system, or resembles a generated one.
    """
    if safe_stem(name) != name:
        raise ConfigurationError(
            f"name {name!r:.80} is not a valid file name on every system: try {safe_stem(name)!r:.80}"
        )
    if GENERATED_NAME.fullmatch(name):
        raise ConfigurationError(
            f"name {name!r:.80} looks like one that is given to files without a name: do not begin it with 'row-' and "
            "a number, nor end it with a dot and a number"
        )
    return name


def derive_idempotency_key(batch_id: str, identity: str, digest: str, purchase: int) -> str:
    """Returns the key of the nth purchase of a row. It needs no journal: it depends on the row only.

    >>> derive_idempotency_key("kites", "row-000001", "ab12", 1)[:20]
    'batch-a6d5280a71014e'
    """
    text = json.dumps([batch_id, identity, digest, purchase])
    return f"batch-{hashlib.sha256(text.encode()).hexdigest()[:48]}"
