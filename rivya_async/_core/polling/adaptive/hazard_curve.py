"""The ages of jobs in bins, and the curve by which the polls of an open job are placed.

A hazard is how many ends are to be expected of a job that is open throughout a bin. The bins are equally wide on a
logarithmic scale.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_AGE: Final = 0.05
"""Seconds. The bins begin here; what ends sooner ends in the first."""

LOG_BIN_WIDTH: Final = 0.08
"""A bin's width in the logarithm: each is 8 % wider than the one before."""

BIN_COUNT: Final = 160
"""The last bin ends after five hours; what ends later ends in it."""

BIN_EDGES: Final = tuple(MIN_AGE * math.exp(LOG_BIN_WIDTH * n) for n in range(BIN_COUNT + 1))
BIN_WIDTHS: Final = tuple(end - begin for begin, end in pairwise(BIN_EDGES))

PRIOR_SPREAD: Final = 0.7
"""The spread (sigma of the logarithm) of the durations that are imagined before any is known."""

SETTLED_HAZARD: Final = -math.log1p(-0.25)
"""The sum of hazards at which a curve is settled: a quarter of the jobs has ended."""

LATE_HAZARD: Final = -math.log1p(-0.95)
"""The same when a job is late: one in twenty is open still."""


def bin_position(age: float) -> float:
    """Where an age stands on the scale of the bins: in the middle of the fourth is 3.5."""
    return max(0.0, min(math.log(age / MIN_AGE) / LOG_BIN_WIDTH, BIN_COUNT - 0.001)) if age > 0.0 else 0.0


def _compute_prior_hazards() -> tuple[float, ...]:
    scale = LOG_BIN_WIDTH / (PRIOR_SPREAD * math.sqrt(2.0))
    still_open = (math.erfc(scale * (n - BIN_COUNT)) for n in range(2 * BIN_COUNT + 1))
    return tuple(math.log(before / after) for before, after in pairwise(still_open))


_PRIOR_HAZARDS: Final = _compute_prior_hazards()


def prior_hazards(median: float) -> Sequence[float]:
    """The hazards of jobs whose durations spread broadly around this position."""
    first = BIN_COUNT - round(median)
    return _PRIOR_HAZARDS[first : first + BIN_COUNT]


class HazardCurve:
    """The integral over the age of sqrt(h), h being the hazard per second.

    And the ages at which it is `settled`, and a job `late`.
    """

    __slots__ = ("_integrals", "late_age", "settled_age")

    def __init__(self, hazards: Sequence[float]) -> None:
        self._integrals = array("d", [0.0])
        self.settled_age = self.late_age = BIN_EDGES[-1]
        integral = expected = 0.0
        for begin, width, hazard in zip(BIN_EDGES, BIN_WIDTHS, hazards, strict=False):
            integral += math.sqrt(hazard * width)
            self._integrals.append(integral)
            if expected < SETTLED_HAZARD <= expected + hazard:
                self.settled_age = begin + width
            if expected < LATE_HAZARD <= expected + hazard:
                self.late_age = begin + width
            expected += hazard

    def integral(self, age: float) -> float:
        """The integral from 0 to this age."""
        n = bisect_right(BIN_EDGES, age) - 1
        if n < 0:
            return 0.0
        if n == BIN_COUNT:
            return self._integrals[-1]
        below = self._integrals[n]
        return below + (self._integrals[n + 1] - below) * (age - BIN_EDGES[n]) / BIN_WIDTHS[n]

    def age_at(self, integral: float) -> float:
        """The age at which the integral passes this value; infinity where it never does."""
        n = bisect_right(self._integrals, integral) - 1
        if n == BIN_COUNT:
            return math.inf
        below = self._integrals[n]
        return BIN_EDGES[n] + BIN_WIDTHS[n] * (integral - below) / (self._integrals[n + 1] - below)
