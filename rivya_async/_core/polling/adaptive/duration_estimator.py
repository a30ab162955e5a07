"""How long jobs last, learned from those that a session has seen: by model, and by the params that stretch a job."""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ... import assumptions
from .duration_codec import dump_histograms, load_histograms
from .duration_histogram import DurationHistogram
from .hazard_curve import LOG_BIN_WIDTH, MIN_AGE, bin_position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .hazard_curve import HazardCurve

MAX_GROUPS: Final = 128
"""Beyond it the group that was not heard of for longest is forgotten."""

MAX_DURATION: Final = 86_400.0
"""Seconds. No job lasts longer than a day: such a duration is a slip of some clock."""

MIN_DURATION: Final = MIN_AGE * (1.0 + LOG_BIN_WIDTH / 2.0)
"""Seconds. The middle of the first bin: a job that took no time has been open for some of it."""

MAX_PARAM_VALUE_LENGTH: Final = 32
"""Characters. A param with a longer value stretches no job."""


def duration_group(model: str, params: Mapping[str, Any] | None = None) -> str:
    """The jobs that are taken to last alike: the model and the params that stretch a job.

    >>> duration_group("kling-3-0", {"duration": 5, "resolution": "720P", "seed": 7})
    'kling-3-0?duration=5&resolution=720p'
    """
    stretching = (
        {} if params is None else {name: params[name] for name in assumptions.DURATION_PARAMS if name in params}
    )
    values = {
        name: str(value).lower()
        for name, value in stretching.items()
        if isinstance(value, str | int | float) and len(str(value)) <= MAX_PARAM_VALUE_LENGTH
    }
    return intern(f"{model}?{urlencode(values)}") if values else model


class DurationEstimator:
    """How long the jobs of each group last, in constant memory. Recent jobs weigh more: the last 50, about.

    A group of few jobs leans on its model, a model of few jobs on a broad guess.

    >>> durations = DurationEstimator()
    >>> durations.observe("z-image", 12.5)
    >>> durations.curve_for("z-image") is None, durations.curve_for("veo3-1-fast") is None
    (False, True)
    """

    def __init__(self) -> None:
        self._histograms: dict[str, DurationHistogram] = {}  # the one that was heard of last stands last

    def observe(self, group: str, seconds: float, since: float = 0.0) -> None:
        """A job has ended, by the server's clock `seconds` after its submit; what cannot be a duration is ignored.

        `since` is the age up to which `still_open` has counted it.
        """
        if 0.0 <= seconds <= MAX_DURATION:
            for history in self._histograms_of(group):
                history.add_end(max(seconds, MIN_DURATION), since)

    def observe_open(self, group: str, age: float, since: float = 0.0) -> None:
        """A poll found a job open at the age of `age` seconds; the one before it, if any, at the age `since`.

        Without it the quick jobs of many that begin at once would pass for all.
        """
        for history in self._histograms_of(group):
            history.add_open(age, since)

    def curve_for(self, group: str, category: str | None = None) -> HazardCurve | None:
        """The curve that places the polls of a job; None if no job of its model has been seen to end.

        It is shared, and valid for the next poll only: ask again for the one after it. The category (`image`, `video`,
        `audio`) says what to expect as long as few jobs have ended.
        """
        model = self._histograms.get(_model_of(group))
        if model is None or not model.ends:
            return None
        typical = bin_position(assumptions.TYPICAL_DURATIONS.get(category or "", assumptions.DEFAULT_TYPICAL_DURATION))
        curve = model.curve(None, typical)
        history = self._histograms.get(group, model)
        return curve if history is model or not history.ends else history.curve(model.hazards, typical)

    def dump(self) -> dict[str, Any]:
        """What was learned, as a dictionary for JSON: another process starts with it by `load`."""
        return dump_histograms(self._histograms)

    def load(self, dump: Mapping[str, Any]) -> None:
        """Start from what `dump` gave, in place of what was learned so far.

        Raises `ConfigurationError`, and changes nothing, where it is something else.
        """
        self._histograms = dict(list(load_histograms(dump).items())[-MAX_GROUPS:])

    def _histograms_of(self, group: str) -> list[DurationHistogram]:
        """The histories that a job of this group belongs to: its own, and its model's."""
        model = _model_of(group)
        return [self._get_or_create(name) for name in ((group,) if group == model else (group, model))]

    def _get_or_create(self, name: str) -> DurationHistogram:
        history = self._histograms.pop(name, None)
        if history is None:
            history = DurationHistogram()
            if len(self._histograms) >= MAX_GROUPS:
                del self._histograms[next(iter(self._histograms))]
        self._histograms[name] = history
        return history


def _model_of(group: str) -> str:
    return group.partition("?")[0]
