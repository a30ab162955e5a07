"""Estimates of job durations from the observed jobs of a session: by model, and by params that affect the duration."""

from __future__ import annotations

import math
from array import array
from itertools import accumulate
from sys import intern
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ... import assumptions
from ..intervals import BIN_COUNT, LOG_BIN_WIDTH, MIN_AGE, HazardCurve, bin_position, prior_hazards
from .duration_codec import dump_histograms, load_histograms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_GROUPS: Final = 128
"""Maximum number of groups. The least recently observed group is dropped."""

MAX_DURATION: Final = 86_400.0
"""Maximum plausible duration in seconds. Longer ones are clock errors."""

MIN_DURATION: Final = MIN_AGE * (1.0 + LOG_BIN_WIDTH / 2.0)
"""Minimum duration in seconds: the middle of the first bin, in which even the fastest job was open."""

MAX_PARAM_VALUE_LENGTH: Final = 32
"""Maximum length of a param value in the name of a group, in characters."""

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


def duration_group(model: str, params: Mapping[str, Any] | None = None) -> str:
    """Returns the group of jobs with similar durations: the model, and the params that affect the duration.

    >>> duration_group("kling-3-0", {"duration": 5, "resolution": "720P", "seed": 7})
    'kling-3-0?duration=5&resolution=720p'
    """
    values = {
        name: str(value).lower()
        for name in assumptions.DURATION_PARAMS
        if params is not None
        and isinstance(value := params.get(name), str | int | float)
        and len(str(value)) <= MAX_PARAM_VALUE_LENGTH
    }
    return intern(f"{model}?{urlencode(values)}") if values else model


class DurationEstimator:
    """Estimator of the durations of each group, in constant memory. The last 50 jobs dominate.

    The prior of a group with few jobs is its model; the prior of a model with few jobs is a broad distribution.

    >>> durations = DurationEstimator()
    >>> durations.observe("z-image", 12.5)
    >>> durations.curve_for("z-image") is None, durations.curve_for("veo3-1-fast") is None
    (False, True)
    """

    def __init__(self) -> None:
        self._histograms: dict[str, DurationHistogram] = {}  # the most recently observed is last

    def observe(self, group: str, seconds: float, since: float = 0.0) -> None:
        """Records a job that ended `seconds` after its submit by the server's clock; ignores implausible durations.

        `since` is the last age recorded by `observe_open`.
        """
        if 0.0 <= seconds <= MAX_DURATION:
            for histogram in self._histograms_of(group):
                histogram.add_end(max(seconds, MIN_DURATION), since)

    def observe_open(self, group: str, age: float, since: float = 0.0) -> None:
        """Records a job that was open at `age` seconds; `since` is the last recorded age.

        Otherwise the first ends of many simultaneous jobs would bias the estimate to short durations.
        """
        for histogram in self._histograms_of(group):
            histogram.add_open(age, since)

    def curve_for(self, group: str, category: str | None = None) -> HazardCurve | None:
        """Returns the curve for the next poll of a job; None before the first observed end of its model.

        The curve is shared, and changes with later observations. The category (`image`, `video`, `audio`) selects the
        prior for few observations.
        """
        model = self._histograms.get(_model_of(group))
        if model is None or not model.ends:
            return None
        typical = bin_position(assumptions.TYPICAL_DURATIONS.get(category or "", assumptions.DEFAULT_TYPICAL_DURATION))
        curve = model.curve(None, typical)
        histogram = self._histograms.get(group, model)
        return curve if histogram is model or not histogram.ends else histogram.curve(model.hazards, typical)

    def dump(self) -> dict[str, Any]:
        """Returns the observations as a dictionary for JSON; another process restores them by `load`."""
        for histogram in self._histograms.values():
            histogram.merge_pending()
        return dump_histograms(
            {group: (each.ends, each.opened, each.ended) for group, each in self._histograms.items()}
        )

    def load(self, dump: Mapping[str, Any]) -> None:
        """Replaces the observations by the result of `dump`.

        Raises `ConfigurationError` for any other value, and keeps the observations.
        """
        newest = list(load_histograms(dump).items())[-MAX_GROUPS:]
        self._histograms = {group: DurationHistogram(*data) for group, data in newest}

    def _histograms_of(self, group: str) -> list[DurationHistogram]:
        """Returns the histograms of the group and of its model."""
        model = _model_of(group)
        return [self._get_or_create(name) for name in ((group,) if group == model else (group, model))]

    def _get_or_create(self, name: str) -> DurationHistogram:
        histogram = self._histograms.pop(name, None)
        if histogram is None:
            histogram = DurationHistogram()
            if len(self._histograms) >= MAX_GROUPS:
                del self._histograms[next(iter(self._histograms))]
        self._histograms[name] = histogram
        return histogram


class DurationHistogram:
    """Histogram of the ages at which the jobs of one group were open and ended, in constant memory.

    Open jobs count up to their current age, as in Kaplan and Meier (1958). Otherwise the first ends of many
    simultaneous jobs would bias the estimate to short durations. `ends` counts observed ends, `hazards` is the data of
    the last curve.
    """

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
        self._pending_open = _make_bins(())  # not yet merged; as differences between bins
        self._pending_ended = _make_bins(())

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
        known, mean, spread = self._duration_moments()
        if expected is None:
            expected = prior_hazards((typical + known * self.ends * mean) / (1.0 + known * self.ends))
        half = self._half_width(spread)
        bins = zip(_smooth(self.ended, half), _smooth(self.opened, half), expected, strict=False)
        return array("d", [(ended + PRIOR_WEIGHT * hazard) / (opened + PRIOR_WEIGHT) for ended, opened, hazard in bins])

    def _duration_moments(self) -> tuple[float, float, float]:
        """Returns the share of durations that are known, and their mean and spread in bins."""
        still_open, first, second = 1.0, 0.0, 0.0
        for n, (ended, opened) in enumerate(zip(self.ended, self.opened, strict=True)):
            if ended and opened:
                remaining = still_open * math.exp(-ended / opened)
                first += (still_open - remaining) * n
                second += (still_open - remaining) * n * n
                still_open = remaining
        known = 1.0 - still_open
        mean = first / (known or 1.0)
        return known, mean, math.sqrt(max(0.0, second / (known or 1.0) - mean * mean))

    def _half_width(self, spread: float) -> int:
        """Returns the half width of the smoothing: two moving averages over n bins have variance (n ** 2 - 1) / 6."""
        decay = DECAY**self.ends
        jobs = (1.0 + DECAY) / (1.0 - DECAY) * (1.0 - decay) / (1.0 + decay)  # effective sample size (Kish)
        variance = PRIOR_SPREAD_JOBS * (PRIOR_SPREAD / LOG_BIN_WIDTH) ** 2 + jobs * spread**2
        bandwidth = BANDWIDTH_FACTOR * math.sqrt(variance / (PRIOR_SPREAD_JOBS + jobs)) * jobs**-0.2
        return min(MAX_HALF_WIDTH, round((math.sqrt(1.0 + 6.0 * bandwidth**2) - 1.0) / 2.0))


def _model_of(group: str) -> str:
    return group.partition("?")[0]


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
