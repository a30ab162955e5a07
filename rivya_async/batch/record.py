"""The state of a row and of a run in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from .._core.types.generations import Amount, SavedFile
from .._jobs.transitions import JobState
from .row import Row, derive_idempotency_key


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
