"""Bins for the ages of jobs, and the curve from which adaptive poll intervals are computed.

A hazard is the expected number of ends of a job that is open throughout a bin. The bins have equal widths on a
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
"""Start of the first bin in seconds. Earlier ends count in the first bin."""

LOG_BIN_WIDTH: Final = 0.08
"""Width of a bin in the logarithm of the age: each bin is 8 % wider than the previous one."""

BIN_COUNT: Final = 160
"""Number of bins. The last bin ends after five hours; later ends count in it."""

BIN_EDGES: Final = tuple(MIN_AGE * math.exp(LOG_BIN_WIDTH * n) for n in range(BIN_COUNT + 1))
"""Limits of the bins in seconds."""

BIN_WIDTHS: Final = tuple(end - begin for begin, end in pairwise(BIN_EDGES))
"""Widths of the bins in seconds."""

PRIOR_SPREAD: Final = 0.7
"""Spread of the prior distribution of durations (sigma of the logarithm)."""

SETTLED_HAZARD: Final = -math.log1p(-0.25)
"""Cumulative hazard of the settled age: a quarter of the jobs has ended."""

LATE_HAZARD: Final = -math.log1p(-0.95)
"""Cumulative hazard of the late age: 95 % of the jobs have ended."""


def bin_position(age: float) -> float:
    """Returns the position of an age on the scale of the bins: 3.5 is the middle of the fourth bin."""
    return max(0.0, min(math.log(age / MIN_AGE) / LOG_BIN_WIDTH, BIN_COUNT - 0.001)) if age > 0.0 else 0.0


def _compute_prior_hazards() -> tuple[float, ...]:
    scale = LOG_BIN_WIDTH / (PRIOR_SPREAD * math.sqrt(2.0))
    still_open = (math.erfc(scale * (n - BIN_COUNT)) for n in range(2 * BIN_COUNT + 1))
    return tuple(math.log(before / after) for before, after in pairwise(still_open))


_PRIOR_HAZARDS: Final = _compute_prior_hazards()


def prior_hazards(median: float) -> Sequence[float]:
    """Returns the hazards of the prior distribution with the median at this position."""
    first = BIN_COUNT - round(median)
    return _PRIOR_HAZARDS[first : first + BIN_COUNT]


class HazardCurve:
    """Integral over the age of sqrt(h), h being the hazard per second, with the settled and the late age in seconds."""

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
        """Returns the integral from 0 to this age."""
        n = bisect_right(BIN_EDGES, age) - 1
        if n < 0:
            return 0.0
        if n == BIN_COUNT:
            return self._integrals[-1]
        below = self._integrals[n]
        return below + (self._integrals[n + 1] - below) * (age - BIN_EDGES[n]) / BIN_WIDTHS[n]

    def age_at(self, integral: float) -> float:
        """Returns the age at which the integral reaches this value; infinity if it never does."""
        n = bisect_right(self._integrals, integral) - 1
        if n == BIN_COUNT:
            return math.inf
        below = self._integrals[n]
        return BIN_EDGES[n] + BIN_WIDTHS[n] * (integral - below) / (self._integrals[n + 1] - below)
