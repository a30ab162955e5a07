"""Histories as a dictionary for JSON, so that what one process learned outlives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigurationError
from .hazard import BINS
from .history import History

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 1
"""The scale of the bins is a part of it."""

MOST: Final = 1e9
"""More jobs than any number in a dump can mean."""


def dumped(histories: Mapping[str, History]) -> dict[str, Any]:
    """The histories by their groups, in their order."""
    groups = {}
    for group, history in histories.items():
        history.fold()
        groups[group] = {"ends": history.ends, "open": _trimmed(history.opened), "ended": _trimmed(history.ended)}
    return {"version": VERSION, "groups": groups}


def loaded(dump: Mapping[str, Any]) -> dict[str, History]:
    """The histories again; a `ConfigurationError` for what `dumped` did not give."""
    if not isinstance(dump, Mapping) or "version" not in dump:
        raise _malformed("it has no version")
    if dump["version"] != VERSION:
        raise ConfigurationError(
            f"the durations are of version {dump['version']!r}, and this release reads version {VERSION}: "
            "leave them out, and the session learns anew"
        )
    groups = dump.get("groups")
    if not isinstance(groups, Mapping) or not all(isinstance(group, str) for group in groups):
        raise _malformed("groups must be a dictionary by names")
    return {group: _history(f"groups[{group!r}]", value) for group, value in groups.items()}


def _trimmed(bins: Sequence[float]) -> list[float]:
    values = [round(value, 4) for value in bins]
    while values and not values[-1]:
        values.pop()
    return values


def _history(where: str, value: Any) -> History:
    if not isinstance(value, Mapping):
        raise _malformed(f"{where} must be a dictionary")
    ends = value.get("ends")
    if not _is_count(ends) or not isinstance(ends, int):
        raise _malformed(f"{where}['ends'] must be a whole number")
    return History(ends, _values(where, value, "open"), _values(where, value, "ended"))


def _values(where: str, value: Mapping[str, Any], name: str) -> Sequence[float]:
    values = value.get(name)
    if not isinstance(values, list) or len(values) > BINS or not all(map(_is_count, values)):
        raise _malformed(f"{where}[{name!r}] must be a list of at most {BINS} numbers from 0 on")
    return values


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST


def _malformed(what: str) -> ConfigurationError:
    return ConfigurationError(f"these are no durations, {what}: pass what dump() gave, whole and unchanged")
