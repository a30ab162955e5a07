"""What the journal knows of a row, and of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from .._core.types.generations import Amount, SavedFile
from .row import Row, purchase_key
from .states import State


@attrs.frozen(kw_only=True, slots=False)
class RowRecord:
    """A row and how far it has come. Instants are seconds since the epoch by this machine's clock.

    `purchase` counts the purchases of the row, 1 with its first; `key` is the idempotency key of the latest. `body` is
    the purchase as it is sent, JSON. `expected_credits` is its price by the catalogue, None where that is silent;
    `reserved_credits` what its record held, `final_credits` what it cost once it has ended. `earlier_credits` is what
    purchases before the latest have cost. `duration` is in seconds by the service's clock. `polls` counts the looks at
    its job, 0 where nobody counted. `error_code` and `error` say why it failed or was given up, or what went wrong with
    it last.
    """

    row: Row
    batch_id: str
    state: State = State.PLANNED
    purchase: int = 1
    body: str | None = None
    expected_credits: Amount | None = None
    task_id: str | None = None
    reserved_credits: Amount | None = None
    final_credits: Amount | None = None
    earlier_credits: Amount = 0
    urls: tuple[str, ...] = ()
    error_code: str | None = None
    error: str | None = None
    duration: float | None = None
    polls: int = 0
    intent_at: float | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    downloaded_at: float | None = None
    files: tuple[SavedFile, ...] = ()

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The record with these members changed. `attrs.evolve` takes ten times as long, three times per row."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, **changes)
        return new

    @property
    def key(self) -> str:
        """The idempotency key of the latest purchase."""
        return purchase_key(self.batch_id, self.row.identity, self.row.digest, self.purchase)

    @property
    def credits(self) -> Amount:
        """What the row counts: the credits of an ended job, else what is held for it, or may be."""
        if self.final_credits is not None:
            return self.earlier_credits + self.final_credits
        if self.reserved_credits is not None:
            return self.earlier_credits + self.reserved_credits
        return self.earlier_credits + (0 if self.body is None else self.expected_credits or 0)


@attrs.frozen(kw_only=True)
class RunRecord:
    """One run of the batch in one process. `ended_at` is None while it runs, and for good if it was killed."""

    number: int
    started_at: float
    ended_at: float | None = None
