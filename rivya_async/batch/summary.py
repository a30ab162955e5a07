"""How a batch stands: what is done, what it has cost, how fast it goes, and why rows have failed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import attrs

from .._core.records import Amount
from .._jobs.transitions import JobState, is_open
from .journal import id_of
from .reading import reading, runs_in
from .record import RunRecord
from .tables import CREDITS

WINDOW: Final = 120.0
"""Seconds whose ends tell how fast it goes."""

SHOWN: Final = 20
"""Reasons that are told; the rest is only counted."""


@attrs.frozen
class Reason:
    """Why rows have failed or been given up: `code` in one word, one of the messages, and how many rows."""

    state: JobState
    code: str
    message: str
    count: int


@attrs.frozen(kw_only=True)
class Summary:
    """A batch at one moment. Credits are those of all runs: `spent` for ended jobs, `held` for open ones."""

    batch_id: str
    counts: Counter[JobState]
    spent: Amount
    held: Amount
    reasons: tuple[Reason, ...]
    run: RunRecord | None
    rate: float | None
    """Jobs that end per second now; None if the run is not on, or none has ended lately."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.counts.total()

    @property
    def open(self) -> int:
        """Rows that are planned or under way: what has no end yet."""
        return sum(count for state, count in self.counts.items() if is_open(state, downloads=False))

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at this rate; None where there is none."""
        return None if self.rate is None else self.open / self.rate


def read_summary(path: Path, now: float) -> Summary:
    """How the batch of this journal stands. Blocks. Raises `JournalError`."""
    with reading(path) as connection:
        batch_id = id_of(connection)
        counted = connection.execute(
            f"SELECT state, count(*), sum(CASE WHEN final_credits IS NULL THEN 0 ELSE {CREDITS} END), "
            f"sum(CASE WHEN final_credits IS NULL THEN {CREDITS} ELSE 0 END) FROM rows GROUP BY state"
        ).fetchall()
        reasons = connection.execute(
            "SELECT state, error_code, min(error), count(*) FROM rows WHERE state IN (?, ?) "
            "GROUP BY state, error_code ORDER BY count(*) DESC LIMIT ?",
            [JobState.FAILED, JobState.DEAD, SHOWN],
        ).fetchall()
        latest = next(reversed(runs_in(connection)), None)
        since = now - WINDOW if latest is None else max(now - WINDOW, latest.started_at)
        (ended,) = connection.execute("SELECT count(*) FROM rows WHERE ended_at > ?", [since]).fetchone()
    is_on = latest is not None and latest.ended_at is None
    return Summary(
        batch_id=batch_id,
        counts=Counter({JobState(state): count for state, count, _, _ in counted}),
        spent=sum(spent for _, _, spent, _ in counted),
        held=sum(held for _, _, _, held in counted),
        reasons=tuple(
            Reason(JobState(state), code or "unknown", text or "", count) for state, code, text, count in reasons
        ),
        run=latest,
        rate=ended / max(now - since, 1.0) if is_on and ended else None,
    )
