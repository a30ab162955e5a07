"""A row of a manifest, and the state of rows and runs in the journal."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Self

import attrs

from .._core.errors import ConfigurationError
from .._core.files.filenames import safe_stem
from .._core.types.generations import Amount, SavedFile
from .._jobs.transitions import JobState

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


@attrs.frozen(kw_only=True, slots=False)
class RowRecord:
    """A row and its state. Times are seconds since the epoch by this machine's clock.

    `purchase` is the number of the latest purchase, from 1, and `body` its JSON request. `expected_credits` is its
    highest known price, or None without one; `reserved_credits` is the reserved amount and `final_credits` its cost.
    `earlier_credits` is the cost of earlier purchases. `replayed` is true if the job of the latest purchase had been
    bought before, under the same key and without this journal: no run has spent anything on it. `duration` is in
    seconds by the clock of the service. `polls` counts the polls of the job, 0 if they were not counted. `error` is the
    reason why the row failed or was given up, or else its latest error; `error_type` is the name of its class,
    `error_code` the code that the service gave.
    """

    row: Row
    """The row."""
    batch_id: str
    """Id of the batch."""
    state: JobState = JobState.PLANNED
    """Progress of the row."""
    purchase: int = 1
    body: str | None = None
    expected_credits: Amount | None = None
    task_id: str | None = None
    """Task id of the latest purchase."""
    reserved_credits: Amount | None = None
    final_credits: Amount | None = None
    earlier_credits: Amount = 0
    replayed: bool = False
    urls: tuple[str, ...] = ()
    """Links to the files of the result."""
    error_code: str | None = None
    error_type: str | None = None
    error: str | None = None
    duration: float | None = None
    polls: int = 0
    intent_at: float | None = None
    """Time at which the purchase was about to be sent."""
    submitted_at: float | None = None
    """Time of its response."""
    ended_at: float | None = None
    """Time at which the job was seen to end."""
    downloaded_at: float | None = None
    """Time at which its files were saved."""
    files: tuple[SavedFile, ...] = ()
    """Saved files."""

    def evolve(self, changes: Mapping[str, Any]) -> Self:
        """Returns a copy with these changes. `attrs.evolve` takes ten times as long, three times per row."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, **changes)
        return new

    @property
    def key(self) -> str:
        """The idempotency key of the latest purchase."""
        return derive_idempotency_key(self.batch_id, self.row.identity, self.row.digest, self.purchase)

    @property
    def latest_credits(self) -> Amount:
        """The cost of the latest purchase; of an open one, the credits that it holds or may hold."""
        latest = self.final_credits if self.final_credits is not None else self.reserved_credits
        if latest is None:
            latest = 0 if self.body is None else self.expected_credits or 0
        return latest

    @property
    def credits(self) -> Amount:
        """The cost of all purchases, also of one that was made before. `max_spend` limits it."""
        return self.earlier_credits + self.latest_credits


@attrs.frozen(kw_only=True)
class RunRecord:
    """One run of a batch. `ended_at` is None during the run, and stays None if its process was killed."""

    number: int
    """Number of the run, from 1."""
    started_at: float
    """Start in seconds since 1970."""
    ended_at: float | None = None
    service: str | None = None
    """Origin of the service."""
