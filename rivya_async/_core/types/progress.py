"""Progress of many jobs, for callbacks and displays."""

from __future__ import annotations

import attrs

from ..public_module import set_public_module
from .generations import Amount


@attrs.frozen
class Progress:
    """Numbers of jobs at one moment, and their credits.

    >>> Progress(done=3, failed=1, open=6, credits=4, rate=2.0).seconds_left
    3.0
    """

    done: int
    """Jobs with nothing left to do: the job succeeded, and its files are saved if they are wanted."""
    failed: int
    """Jobs that failed or were given up."""
    open: int
    """Jobs that are not purchased, not finished or not saved yet."""
    credits: Amount
    """Credits that the jobs have cost, and hold while they are open."""
    rate: float | None
    """Jobs that ended per second, or None before one has."""

    @property
    def total(self) -> int:
        """The number of all jobs."""
        return self.done + self.failed + self.open

    @property
    def seconds_left(self) -> float | None:
        """The remaining seconds at this rate, or None without one."""
        return self.open / self.rate if self.rate else None


set_public_module("rivya_async", Progress)
