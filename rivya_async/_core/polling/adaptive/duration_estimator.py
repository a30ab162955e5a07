"""Estimates of job durations from the observed jobs of a session: by model, and by params that affect the duration."""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ... import assumptions
from ..intervals import HazardCurve, bin_position
from .duration_codec import dump_histograms, load_histograms
from .duration_histogram import MIN_DURATION, DurationHistogram

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_GROUPS: Final = 128
"""Maximum number of groups. The least recently observed group is dropped."""

MAX_DURATION: Final = 86_400.0
"""Maximum plausible duration in seconds. Longer ones are clock errors."""

CLOCK_TOLERANCE: Final = 1.0
"""Seconds by which a duration by the server's clock may miss the interval in which the end was observed."""

CHECKED_JOBS: Final = 20
"""One job in this number is polled on the non-adaptive schedule, so that a wrong estimate cannot sustain itself."""

MAX_PARAM_VALUE_LENGTH: Final = 32
"""Maximum length of a param value in the name of a group, in characters."""


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

    def begins_check(self, group: str) -> bool:
        """Counts a new job; returns True if its polls must not follow the estimate."""
        histogram = self._get_or_create(group)
        histogram.begun += 1
        return histogram.begun % CHECKED_JOBS == 0

    def observe(self, group: str, seconds: float, since: float = 0.0) -> None:
        """Records a job of known duration; ignores implausible durations.

        `since` is the last age recorded by `observe_open`.
        """
        self.observe_end(group, (seconds, seconds), seconds, since)

    def observe_end(
        self,
        group: str,
        interval: tuple[float, float],
        reported: float | None = None,
        since: float = 0.0,
        *,
        is_own: bool = True,
    ) -> None:
        """Records a job that ended in an interval of ages: after a poll saw it open, and before its end was seen.

        `reported` is the duration by the server's clock. It counts inside the interval; else the middle of the interval
        does, and a job of another process does not count. `since` is the last age recorded by `observe_open`.
        """
        earliest, latest = interval
        if not 0.0 <= earliest <= latest <= MAX_DURATION:
            return
        seconds = (earliest + latest) / 2.0
        if reported is not None and earliest - CLOCK_TOLERANCE <= reported <= latest + CLOCK_TOLERANCE:
            seconds = min(max(earliest, reported), latest)
        elif not is_own:
            return
        for histogram in self._histograms_of(group):
            histogram.add_end(max(seconds, MIN_DURATION), since)
            if is_own:
                histogram.add_own_end(earliest, latest)

    def observe_open(self, group: str, age: float, since: float = 0.0, *, was_polled: bool = True) -> None:
        """Records a job that was open at `age` seconds; `since` is the last recorded age.

        Otherwise the first ends of many simultaneous jobs would bias the estimate to short durations.
        """
        for histogram in self._histograms_of(group):
            histogram.add_open(age, since)
            if was_polled and age > histogram.longest:
                histogram.longest = age

    def curve_for(self, group: str, category: str | None = None) -> HazardCurve | None:
        """Returns the curve for the next poll of a job; None before the first observed end of its model.

        The curve is shared, and changes with later observations. The category (`image`, `video`, `audio`) selects the
        prior for few observations.
        """
        model = self._histograms.get(_model_of(group))
        if model is None or not model.ends:
            return None
        typical = assumptions.TYPICAL_DURATIONS.get(category or "", assumptions.DEFAULT_TYPICAL_DURATION)
        position = bin_position(typical)
        curve = model.curve(None, position)
        histogram = self._histograms.get(group, model)
        if histogram is not model and histogram.ends:
            curve = histogram.curve(model.hazards, position)
        curve.longest = model.longest if model.own_ends else max(model.longest, typical)
        return curve

    def dump(self) -> dict[str, Any]:
        """Returns the observations as a dictionary for JSON; another process restores them by `load`."""
        return dump_histograms(
            {group: data for group, each in self._histograms.items() if (data := each.dump()) is not None}
        )

    def load(self, dump: Mapping[str, Any]) -> None:
        """Replaces the observations by the result of `dump`, which then weighs as much as at most ten jobs.

        Jobs of this session that contradict it reduce this weight. Raises `ConfigurationError` for any other value, and
        keeps the observations.
        """
        newest = list(load_histograms(dump).items())[-MAX_GROUPS:]
        self._histograms = {group: DurationHistogram(data) for group, data in newest}

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


def _model_of(group: str) -> str:
    return group.partition("?")[0]
