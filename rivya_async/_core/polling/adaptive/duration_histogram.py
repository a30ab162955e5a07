"""What has been seen of the jobs of one kind, in constant memory: at which ages they were open, and ended.

Jobs that are still open count up to their present age, as in Kaplan and Meier (1958): of ten thousand jobs that begin
at once the quick ones end first, and taken alone would pass for all.
"""

from __future__ import annotations

import math
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from .hazard_curve import BIN_COUNT, LOG_BIN_WIDTH, HazardCurve, bin_position, prior_hazards

if TYPE_CHECKING:
    from collections.abc import Sequence

DECAY: Final = 0.97
"""A job lessens the weight of those that were open at the same age before it to this share: an effective 65 jobs."""

PRIOR_WEIGHT: Final = 0.5
"""As many jobs as this behave, at every age, as was expected before any was seen. They keep the tail."""

BANDWIDTH_FACTOR: Final = 0.8
"""The bandwidth of smoothing is this by the spread of the durations by (number of jobs) ** -0.2 (Silverman 1986)."""

PRIOR_SPREAD: Final = 0.5
PRIOR_SPREAD_JOBS: Final = 2.0
"""The spread is at first this (sigma of the logarithm), as if so many jobs had shown it."""

MAX_HALF_WIDTH: Final = 6
"""The most bins to either side that a moving average takes."""

REFRESH_DIVISOR: Final = 4
EFFECTIVE_JOBS: Final = 64
"""A curve is drawn again when a quarter of the jobs that it rests on are new, and at least every sixteen."""

ROUNDING_TOLERANCE: Final = 1e-9
"""What rounding leaves of a sum that is 0."""


class DurationHistogram:
    """The jobs of one kind: `ends` of them were seen to end. `hazards` is what the last curve was drawn from."""

    __slots__ = (
        "_curve",
        "_ends_since_refresh",
        "_pending_ended",
        "_pending_open",
        "ended",
        "ends",
        "hazards",
        "opened",
    )

    def __init__(self, ends: int = 0, opened: Sequence[float] = (), ended: Sequence[float] = ()) -> None:
        self.ends = ends
        self.opened = _make_bins(opened)
        self.ended = _make_bins(ended)
        self.hazards: Sequence[float] = ()
        self._curve: HazardCurve | None = None
        self._ends_since_refresh = 0
        self._pending_open = _make_bins(())  # what is not yet among the above; as differences from bin to bin
        self._pending_ended = _make_bins(())

    def add_open(self, age: float, since: float) -> None:
        """A job was open up to `age`, and has been counted up to `since`."""
        if since < age:
            self._add_open_until(age, 1.0)
            self._add_open_until(since, -1.0)

    def add_end(self, age: float, since: float) -> None:
        """A job ended at `age`, and has been counted as open up to `since`."""
        self.add_open(age, since)
        self._pending_ended[int(bin_position(age))] += 1.0
        self.ends += 1
        self._ends_since_refresh += 1

    def curve(self, expected: Sequence[float] | None, typical: float) -> HazardCurve:
        """The curve of the next job: by what was seen and, as far as nothing was, by the hazards `expected`.

        If nothing is, the durations are expected to spread broadly around what was seen and the position `typical`.
        """
        if self._curve is None or self._ends_since_refresh * REFRESH_DIVISOR >= min(self.ends, EFFECTIVE_JOBS):
            self.merge_pending()
            self.hazards = self._estimate_hazards(expected, typical)
            self._curve = HazardCurve(self.hazards)
            self._ends_since_refresh = 0
        return self._curve

    def merge_pending(self) -> None:
        """Take in what is new, and let fade what it replaces."""
        for n, new in enumerate(accumulate(self._pending_open[:BIN_COUNT])):
            if new > ROUNDING_TOLERANCE:
                kept = DECAY**new
                weight = (1.0 - kept) / (1.0 - DECAY)
                self.opened[n] = self.opened[n] * kept + weight
                self.ended[n] = self.ended[n] * kept + self._pending_ended[n] * weight / new
        self._pending_open = _make_bins(())
        self._pending_ended = _make_bins(())

    def _add_open_until(self, age: float, jobs: float) -> None:
        """Count jobs as open from the first bin to this age, the bin of which they have seen a part of."""
        where = bin_position(age)
        n = int(where)
        part = (where - n) * jobs
        self._pending_open[0] += jobs
        self._pending_open[n] += part - jobs
        self._pending_open[n + 1] -= part

    def _estimate_hazards(self, expected: Sequence[float] | None, typical: float) -> Sequence[float]:
        """Ends per job that was open, in each bin, with the imagined jobs among both."""
        known, mean, spread = self._duration_moments()
        if expected is None:
            expected = prior_hazards((typical + known * self.ends * mean) / (1.0 + known * self.ends))
        half = self._half_width(spread)
        bins = zip(_smooth(self.ended, half), _smooth(self.opened, half), expected, strict=False)
        return array("d", [(ended + PRIOR_WEIGHT * hazard) / (opened + PRIOR_WEIGHT) for ended, opened, hazard in bins])

    def _duration_moments(self) -> tuple[float, float, float]:
        """Of all durations the share that is known, and of those the mean and the spread in bins."""
        still_open, first, second = 1.0, 0.0, 0.0
        for n, (ended, opened) in enumerate(zip(self.ended, self.opened, strict=True)):
            if ended and opened:
                left = still_open * math.exp(-ended / opened)
                first += (still_open - left) * n
                second += (still_open - left) * n * n
                still_open = left
        known = 1.0 - still_open
        mean = first / (known or 1.0)
        return known, mean, math.sqrt(max(0.0, second / (known or 1.0) - mean * mean))

    def _half_width(self, spread: float) -> int:
        """How far to smooth: two moving averages over n bins have the variance (n ** 2 - 1) / 6."""
        faded = DECAY**self.ends
        jobs = (1.0 + DECAY) / (1.0 - DECAY) * (1.0 - faded) / (1.0 + faded)  # Kish's effective number
        variance = PRIOR_SPREAD_JOBS * (PRIOR_SPREAD / LOG_BIN_WIDTH) ** 2 + jobs * spread**2
        bandwidth = BANDWIDTH_FACTOR * math.sqrt(variance / (PRIOR_SPREAD_JOBS + jobs)) * jobs**-0.2
        return min(MAX_HALF_WIDTH, round((math.sqrt(1.0 + 6.0 * bandwidth**2) - 1.0) / 2.0))


def _make_bins(values: Sequence[float]) -> array[float]:
    """One more than there are bins, so that a difference may begin after the last."""
    return array("d", [*values, *[0.0] * (BIN_COUNT + 1 - len(values))])


def _smooth(values: Sequence[float], half: int) -> Sequence[float]:
    """Two moving averages over `half` bins to either side; never below 0."""
    width = 2 * half + 1
    for _ in range(2):
        sums = list(accumulate([*[0.0] * (half + 1), *values, *[0.0] * half]))
        values = [max(0.0, end - begin) / width for begin, end in zip(sums, sums[width:], strict=False)]
    return values
