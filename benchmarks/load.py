"""What a contender is asked to do, and when a job is polled: the same for every contender."""

from __future__ import annotations

import random
from typing import Final

import attrs

SPREAD_FIRST: Final = 0.2
"""The first poll comes at `first` give or take this share."""

SPREAD_NEXT: Final = 0.5
"""The others come `interval` seconds later give or take this share."""


@attrs.frozen
class Load:
    """So many jobs, each of which ends at its `polls`-th poll."""

    jobs: int
    polls: int
    first: float
    interval: float

    @classmethod
    def of(cls, jobs: int, polls: int) -> Load:
        """The same pressure at every size: a poll falls due every tenth of a millisecond, more than a client can send.

        So no contender sleeps between requests, as the yardstick does not. The first polls come so late that by then
        all jobs are submitted and wait.
        """
        return cls(jobs, polls, first=0.05 + jobs * 0.5e-3, interval=jobs * 0.1e-3)

    def first_delay(self) -> float:
        """Seconds from a submit to the first poll, drawn as the SDK draws it."""
        return self.first * random.uniform(1 - SPREAD_FIRST, 1 + SPREAD_FIRST)

    def next_delay(self) -> float:
        """Seconds from a poll to the next, drawn as the SDK draws it."""
        return self.interval * random.uniform(1 - SPREAD_NEXT, 1 + SPREAD_NEXT)


WARM_UP: Final = Load(jobs=100, polls=3, first=0.1, interval=0.02)
"""Opens every connection and imports whatever is imported late."""
