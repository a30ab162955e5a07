"""Progress of many jobs, for callbacks and displays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..public_module import set_public_module
from .generations import Amount

if TYPE_CHECKING:
    from .generations import Generation


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


class ProgressCounter:
    """Counts the jobs of one loop. Its times are seconds of any clock.

    Without a `total`, the open jobs are those that were started.
    """

    def __init__(self, total: int | None, now: float) -> None:
        self.total = total
        self.started = 0
        self._began_at = now
        self._done = self._failed = 0
        self._credits: Amount = 0

    def add(self, generation: Generation | None, *, succeeded: bool) -> None:
        """Counts the end of a job."""
        self._done += succeeded
        self._failed += not succeeded
        self._credits += 0 if generation is None else generation.final_credits

    def measure(self, now: float) -> Progress:
        """Returns the present numbers."""
        ended, seconds = self._done + self._failed, now - self._began_at
        still_open = max((self.started if self.total is None else self.total) - ended, 0)
        rate = ended / seconds if ended and seconds > 0 else None
        return Progress(self._done, self._failed, still_open, self._credits, rate)


set_public_module("rivya_async", Progress)
