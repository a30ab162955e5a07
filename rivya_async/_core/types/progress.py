"""Progress of many jobs."""

from __future__ import annotations

import attrs

from .generations import Amount
from .record import Record


@attrs.frozen
class Progress(Record):
    """Counts of many jobs at one moment.

    `done` jobs have succeeded, `failed` have not, `open` ones have not ended. `credits` is the charge of those that
    have ended, `rate` their number per second.

    >>> Progress(done=3, failed=1, open=6, credits=4, rate=0.5).ended
    4
    """

    done: int
    failed: int
    open: int
    credits: Amount = 0
    rate: float = 0.0

    @property
    def ended(self) -> int:
        """The number of jobs that have ended."""
        return self.done + self.failed
