"""One line of a manifest: a job that is wanted, and the name by which it is known."""

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
from .._core.filenames import safe_stem

NUMBERED: Final = re.compile(r"(?i)row-\d+|.*\.\d+", re.DOTALL)
"""What rows without a name are called, and how several files of one row are told apart."""


def _own(params: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(params)


def _own_references(references: Iterable[str | os.PathLike[str]]) -> Sequence[str]:
    try:
        if not isinstance(references, str):
            return tuple(os.fspath(each) for each in references)
    except TypeError:
        pass
    raise ConfigurationError(f"references must be a list of paths or URLs, not {references!r:.80}")


@attrs.frozen(kw_only=True, slots=False)
class Row:
    """A job as the manifest asks for it. `number` counts the rows from 1, `line` is where it stands in the file.

    `references` are paths or URLs. `name` is what its files are called; in one batch there is one row of a name.
    Raises `ConfigurationError` for a name that no file can have on every system.

    >>> Row(number=7, line=8, model="z-image", prompt="A red kite").identity
    'row-000007'
    """

    number: int
    line: int
    model: str
    prompt: str | None = None
    params: Mapping[str, Any] = attrs.field(factory=dict, hash=False, converter=_own)
    references: Sequence[str] = attrs.field(default=(), converter=_own_references)
    client_request_id: str | None = None
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.name is not None:
            validate_name(self.name)

    @cached_property
    def digest(self) -> str:
        """A hash of what would be bought: two rows that differ in anything but name and place have two.

        Raises `ConfigurationError` for what cannot be sent.
        """
        wanted = [self.model, self.prompt, self.params, self.references, self.client_request_id]
        try:
            text = json.dumps(wanted, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"it cannot be sent as JSON: {error}") from None
        try:
            return hashlib.sha256(text.encode()).hexdigest()
        except UnicodeEncodeError:
            raise ConfigurationError("it holds half of a character (a lone surrogate), which cannot be sent") from None

    @property
    def identity(self) -> str:
        """By what the batch knows this row again: its name, or its number."""
        return self.name or f"row-{self.number:06}"


def validate_name(name: str) -> str:
    """The name itself; a `ConfigurationError` for one that cannot name files on every system, or could be another's."""
    if safe_stem(name) != name:
        raise ConfigurationError(
            f"name {name!r:.80} cannot be that of a file on every system: try {safe_stem(name)!r:.80}"
        )
    if NUMBERED.fullmatch(name):
        raise ConfigurationError(
            f"name {name!r:.80} looks like one that is given to files without: let it not begin with 'row-' "
            "and a number, nor end with a dot and a number"
        )
    return name


def derive_idempotency_key(batch_id: str, identity: str, digest: str, purchase: int) -> str:
    """The idempotency key of a row's how-manieth purchase: it follows from the row, so that no journal is needed.

    >>> derive_idempotency_key("kites", "row-000001", "ab12", 1)[:20]
    'batch-a6d5280a71014e'
    """
    text = json.dumps([batch_id, identity, digest, purchase])
    return f"batch-{hashlib.sha256(text.encode()).hexdigest()[:48]}"
