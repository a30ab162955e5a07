"""Histogram of the durations of one group of jobs, in constant memory, and the hazard curve that follows from it."""

from __future__ import annotations

import math
from array import array
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Final

from ..intervals import BIN_COUNT, LOG_BIN_WIDTH, MIN_AGE, HazardCurve, bin_position, prior_hazards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .duration_codec import HistogramData

MIN_DURATION: Final = MIN_AGE * (1.0 + LOG_BIN_WIDTH / 2.0)
"""Minimum duration in seconds: the middle of the first bin, in which even the fastest job was open."""

DECAY: Final = 0.97
"""Factor by which a job reduces the weight of earlier jobs at the same age: 65 jobs are effective."""

PRIOR_WEIGHT: Final = 0.5
"""Weight of the prior in jobs, at every age. It preserves the tail of the distribution."""

BANDWIDTH_FACTOR: Final = 0.8
"""Bandwidth of the smoothing, relative to spread of the durations * (number of jobs) ** -0.2 (Silverman 1986)."""

PRIOR_SPREAD: Final = 0.5
"""Prior of the spread of the durations (sigma of the logarithm)."""

PRIOR_SPREAD_JOBS: Final = 2.0
"""Weight of `PRIOR_SPREAD` in jobs."""

MAX_HALF_WIDTH: Final = 6
"""Maximum number of bins on each side of a moving average."""

REFRESH_DIVISOR: Final = 4
"""A curve is recomputed when 1 / REFRESH_DIVISOR of its jobs are new."""

EFFECTIVE_JOBS: Final = 64
"""Maximum number of jobs that count for a refresh: a curve is recomputed at least every 16 jobs."""

ROUNDING_TOLERANCE: Final = 1e-9
"""Maximum rounding error of a sum that is 0."""


MAX_LOADED_JOBS: Final = 10
"""Maximum weight of a loaded histogram in jobs."""

MIN_LOADED_SHARE: Final = 0.05
"""Share of loaded jobs that must end after the begin, and before the end, of the interval of an own job."""

CONTRADICTED_FACTOR: Final = 0.5
"""Factor by which an own job that contradicts the loaded histogram reduces its weight."""


class DurationHistogram:
    """Histogram of the ages at which the jobs of one group were open and ended, in constant memory.

    Open jobs count up to their current age, as in Kaplan and Meier (1958). Otherwise the first ends of many
    simultaneous jobs would bias the estimate to short durations. `ends` counts observed ends, `hazards` is the data of
    the last curve.
    """

    __slots__ = (
        "_curve",
        "_ends_since_refresh",
        "_loaded_ended",
        "_loaded_opened",
        "_pending_ended",
        "_pending_open",
        "begun",
        "ended",
        "ends",
        "hazards",
        "longest",
        "opened",
        "own_ends",
    )

    def __init__(self, loaded: HistogramData = (0, (), ())) -> None:
        ends, opened, ended = loaded
        weight = min(1.0, MAX_LOADED_JOBS / max([1.0, *opened, *ended]))
        self.ends = min(ends, MAX_LOADED_JOBS)
        self._loaded_opened = array("d", [value * weight for value in _make_bins(opened)])
        self._loaded_ended = array("d", [value * weight for value in _make_bins(ended)])
        self.opened = _make_bins(())
        self.ended = _make_bins(())
        self.hazards: Sequence[float] = ()
        self.begun = 0
        """Jobs of this session that have begun."""
        self.own_ends = 0
        """Jobs of this session that have ended."""
        self.longest = 0.0
        """Highest age in seconds at which a poll of this session saw a job open."""
        self._curve: HazardCurve | None = None
        self._ends_since_refresh = 0
        self._pending_open = _make_bins(())  # not yet merged; as differences between bins
        self._pending_ended = _make_bins(())

    def add_own_end(self, earliest: float, latest: float) -> None:
        """Counts an end of this session's own, in this interval; one that contradicts the loaded jobs reduces them."""
        self.own_ends += 1
        self.longest = max(self.longest, earliest)
        if self._loaded_opened[0] and not self._loaded_has_between(earliest, latest):
            for bins in (self._loaded_opened, self._loaded_ended):
                for n, value in enumerate(bins):
                    bins[n] = value * CONTRADICTED_FACTOR

    def dump(self) -> HistogramData | None:
        """Returns the observations, with the loaded ones; None without any."""
        self.merge_pending()
        opened, ended = self._totals()
        return (self.ends, opened, ended) if self.ends or opened[0] else None

    def add_open(self, age: float, since: float) -> None:
        """Counts a job as open up to `age`; it is already counted up to `since`."""
        if since < age:
            self._add_open_until(age, 1.0)
            self._add_open_until(since, -1.0)

    def add_end(self, age: float, since: float) -> None:
        """Counts a job that ended at `age`; it is already counted as open up to `since`."""
        self.add_open(age, since)
        self._pending_ended[int(bin_position(age))] += 1.0
        self.ends += 1
        self._ends_since_refresh += 1

    def curve(self, expected: Sequence[float] | None, typical: float) -> HazardCurve:
        """Returns the curve of the next job, from the observations and the prior hazards `expected`.

        Without `expected` the prior is a broad distribution around the observations and the bin position `typical`.
        """
        if self._curve is None or self._ends_since_refresh * REFRESH_DIVISOR >= min(self.ends, EFFECTIVE_JOBS):
            self.merge_pending()
            self.hazards = self._estimate_hazards(expected, typical)
            self._curve = HazardCurve(self.hazards)
            self._ends_since_refresh = 0
        return self._curve

    def merge_pending(self) -> None:
        """Merges the pending observations, and reduces the weight of earlier ones."""
        for n, new in enumerate(accumulate(self._pending_open[:BIN_COUNT])):
            if new > ROUNDING_TOLERANCE:
                decay = DECAY**new
                weight = (1.0 - decay) / (1.0 - DECAY)
                self.opened[n] = self.opened[n] * decay + weight
                self.ended[n] = self.ended[n] * decay + self._pending_ended[n] * weight / new
        self._pending_open = _make_bins(())
        self._pending_ended = _make_bins(())

    def _add_open_until(self, age: float, jobs: float) -> None:
        """Counts jobs as open from the first bin to this age, whose bin counts in part."""
        position = bin_position(age)
        n = int(position)
        part = (position - n) * jobs
        self._pending_open[0] += jobs
        self._pending_open[n] += part - jobs
        self._pending_open[n + 1] -= part

    def _estimate_hazards(self, expected: Sequence[float] | None, typical: float) -> Sequence[float]:
        """Returns the ends per open job in each bin, including the jobs of the prior."""
        opened_jobs, ended_jobs = self._totals()
        known, mean, spread = _duration_moments(opened_jobs, ended_jobs)
        if expected is None:
            expected = prior_hazards((typical + known * self.ends * mean) / (1.0 + known * self.ends))
        half = self._half_width(spread)
        bins = zip(_smooth(ended_jobs, half), _smooth(opened_jobs, half), expected, strict=False)
        return array("d", [(ended + PRIOR_WEIGHT * hazard) / (opened + PRIOR_WEIGHT) for ended, opened, hazard in bins])

    def _totals(self) -> tuple[Sequence[float], Sequence[float]]:
        """Returns the open and the ended jobs per bin, own and loaded."""
        return (
            array("d", map(add, self.opened, self._loaded_opened)),
            array("d", map(add, self.ended, self._loaded_ended)),
        )

    def _loaded_has_between(self, earliest: float, latest: float) -> bool:
        """Returns False if nearly all loaded jobs ended before or after this interval."""
        first, last = int(bin_position(earliest)), int(bin_position(latest))
        still_open, at_earliest = 1.0, 1.0
        for n in range(last + 1):
            if n == first:
                at_earliest = still_open
            if self._loaded_opened[n]:
                still_open *= math.exp(-self._loaded_ended[n] / self._loaded_opened[n])
        return at_earliest >= MIN_LOADED_SHARE and 1.0 - still_open >= MIN_LOADED_SHARE

    def _half_width(self, spread: float) -> int:
        """Returns the half width of the smoothing: two moving averages over n bins have variance (n ** 2 - 1) / 6."""
        decay = DECAY**self.ends
        jobs = (1.0 + DECAY) / (1.0 - DECAY) * (1.0 - decay) / (1.0 + decay)  # effective sample size (Kish)
        variance = PRIOR_SPREAD_JOBS * (PRIOR_SPREAD / LOG_BIN_WIDTH) ** 2 + jobs * spread**2
        bandwidth = BANDWIDTH_FACTOR * math.sqrt(variance / (PRIOR_SPREAD_JOBS + jobs)) * jobs**-0.2
        return min(MAX_HALF_WIDTH, round((math.sqrt(1.0 + 6.0 * bandwidth**2) - 1.0) / 2.0))


def _make_bins(values: Sequence[float]) -> array[float]:
    """Returns one more than the number of bins, since a difference may start after the last."""
    return array("d", [*values, *[0.0] * (BIN_COUNT + 1 - len(values))])


def _smooth(values: Sequence[float], half: int) -> Sequence[float]:
    """Returns two moving averages over `half` bins on each side; never below 0."""
    width = 2 * half + 1
    for _ in range(2):
        sums = list(accumulate([*[0.0] * (half + 1), *values, *[0.0] * half]))
        values = [max(0.0, end - begin) / width for begin, end in zip(sums, sums[width:], strict=False)]
    return values


def _duration_moments(opened_jobs: Sequence[float], ended_jobs: Sequence[float]) -> tuple[float, float, float]:
    """Returns the share of durations that are known, and their mean and spread in bins."""
    still_open, first, second = 1.0, 0.0, 0.0
    for n, (ended, opened) in enumerate(zip(ended_jobs, opened_jobs, strict=True)):
        if ended and opened:
            remaining = still_open * math.exp(-ended / opened)
            first += (still_open - remaining) * n
            second += (still_open - remaining) * n * n
            still_open = remaining
    known = 1.0 - still_open
    mean = first / (known or 1.0)
    return known, mean, math.sqrt(max(0.0, second / (known or 1.0) - mean * mean))
