"""Conversion of duration histograms to and from JSON, so that another process can restore them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from ...errors import ConfigurationError
from ..intervals import BIN_COUNT

HistogramData: TypeAlias = tuple[int, Sequence[float], Sequence[float]]
"""Observed ends, and per bin the jobs that were open and that ended."""

FORMAT_VERSION: Final = 1
"""Version of the format, which includes the scale of the bins."""

MAX_COUNT: Final = 1e9
"""Maximum plausible number of jobs in a dump."""


def dump_histograms(histograms: Mapping[str, HistogramData]) -> dict[str, Any]:
    """Returns the histograms by group, in their order."""
    groups = {
        group: {"ends": ends, "open": _trim_zeros(opened), "ended": _trim_zeros(ended)}
        for group, (ends, opened, ended) in histograms.items()
    }
    return {"version": FORMAT_VERSION, "groups": groups}


def load_histograms(dump: Mapping[str, Any]) -> dict[str, HistogramData]:
    """Restores the result of `dump_histograms`. Raises `ConfigurationError` for any other value."""
    if not isinstance(dump, Mapping) or "version" not in dump:
        raise _invalid_dump("it has no version")
    if dump["version"] != FORMAT_VERSION:
        raise ConfigurationError(
            f"the durations are of version {dump['version']!r}, and this release reads version {FORMAT_VERSION}: "
            "leave them out, and the session starts without them"
        )
    groups = dump.get("groups")
    if not isinstance(groups, Mapping) or not all(isinstance(group, str) for group in groups):
        raise _invalid_dump("groups must be a dictionary by names")
    return {group: _load_histogram(f"groups[{group!r}]", value) for group, value in groups.items()}


def _trim_zeros(bins: Sequence[float]) -> list[float]:
    values = [round(value, 4) for value in bins]
    while values and not values[-1]:
        values.pop()
    return values


def _load_histogram(where: str, value: Any) -> HistogramData:
    if not isinstance(value, Mapping):
        raise _invalid_dump(f"{where} must be a dictionary")
    ends = value.get("ends")
    if not _is_valid_count(ends) or not isinstance(ends, int):
        raise _invalid_dump(f"{where}['ends'] must be a whole number")
    return (ends, _load_bins(where, value, "open"), _load_bins(where, value, "ended"))


def _load_bins(where: str, value: Mapping[str, Any], name: str) -> Sequence[float]:
    values = value.get(name)
    if not isinstance(values, list) or len(values) > BIN_COUNT or not all(map(_is_valid_count, values)):
        raise _invalid_dump(f"{where}[{name!r}] must be a list of at most {BIN_COUNT} numbers from 0 on")
    return values


def _is_valid_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _invalid_dump(reason: str) -> ConfigurationError:
    return ConfigurationError(f"invalid durations, {reason}: pass the unchanged result of dump()")
