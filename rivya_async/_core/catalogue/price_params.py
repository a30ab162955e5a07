"""Params that change the price of a job: their names, and the order of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from .. import assumptions
from .model_param import format_number

MAX_VALUE_LENGTH: Final = 32
"""Maximum length of a value that is compared, in characters. Longer ones are free text."""

MAX_NAME_LENGTH: Final = 64
"""Maximum length of the name of a param that is compared, in characters. Longer ones are ignored."""

REFERENCE_COUNT: Final = "references"
"""Name under which the number of references of a job is observed, beside its params."""

UNREADABLE: Final = "?"
"""Value of a param that has no short text. It equals no other value, and is not learned."""

CAMEL_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
NUMBER_WITH_UNIT: Final = re.compile(r"(-?\d{1,12}(?:\.\d{1,12})?)\s*([a-z]?)", re.ASCII)
ASPECT_RATIO: Final = re.compile(r"\d{1,4}:\d{1,4}", re.ASCII)
BOOLEANS: Final = ("false", "true")


def is_price_param(name: str, value: Any = None) -> bool:
    """Returns True if a param of this name is known or suspected to change the price of a job.

    An aspect ratio does not, under any name: `value` is a value of the param.

    >>> is_price_param("rendering_speed"), is_price_param("outputResolution"), is_price_param("aspect_ratio")
    (True, True, False)
    >>> is_price_param("size", "high"), is_price_param("size", "16:9")
    (True, False)
    """
    return _is_price_name(name) and not _is_aspect_ratio(value)


@lru_cache(maxsize=1024)
def _is_price_name(name: object) -> bool:
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH:
        return False
    return assumptions.PRICE_PARAM_PATTERN.fullmatch(CAMEL_HUMP.sub("_", name).lower()) is not None


def _is_aspect_ratio(value: Any) -> bool:
    return isinstance(value, str) and ":" in value and ASPECT_RATIO.fullmatch(value) is not None


def price_value(value: Any) -> str:
    """Returns the text by which values are compared, `UNREADABLE` if there is none.

    >>> price_value(5), price_value("5.0"), price_value(True), price_value(" 720P "), price_value([1])
    ('5', '5', 'true', '720p', '?')
    """
    if isinstance(value, bool):
        return BOOLEANS[value]
    if isinstance(value, int | float):
        is_short = abs(value) < 10**MAX_VALUE_LENGTH
        return format_number(value) if is_short else UNREADABLE
    if not isinstance(value, str) or len(value) > MAX_VALUE_LENGTH:
        return UNREADABLE
    return _normalize(value)


@lru_cache(maxsize=1024)
def _normalize(text: str) -> str:
    text = text.strip().lower()
    parsed = _parse(text)
    return text if parsed is None or parsed[1] else format_number(_whole(parsed[0]))


def compare_values(value: str, other: str) -> int | None:
    """Returns -1, 0 or 1 if a value costs at most, as much as, or at least as much as another; None if unknown.

    Numbers with the same unit, booleans and the words of `assumptions.ASCENDING_VALUES` have an order.

    >>> compare_values("5", "10"), compare_values("1080p", "720p"), compare_values("turbo", "quality")
    (-1, 1, -1)
    >>> compare_values("fun", "normal") is None
    True
    """
    if UNREADABLE in (value, other):
        return None
    if value == other:
        return 0
    for order in (BOOLEANS, assumptions.ASCENDING_VALUES):
        if value in order and other in order:
            return -1 if order.index(value) < order.index(other) else 1
    number, other_number = _parse(value), _parse(other)
    if number is None or other_number is None or number[1] != other_number[1]:
        return None
    return (number[0] > other_number[0]) - (number[0] < other_number[0])


def covers(values: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Returns True if a job with `values` costs at least as much as one with `others`, as far as their order is known.

    A param that only one of them has is not comparable.
    """
    return values.keys() == others.keys() and all(
        compare_values(values[name], others[name]) in (0, 1) for name in values
    )


def select_values(params: Mapping[str, Any], names: Iterable[str] = ()) -> dict[str, str]:
    """Returns the values of the params that change the price: by their name, or because they are in `names`."""
    return {
        name: price_value(value)
        for name, value in params.items()
        if value is not None and (name in names or (_is_price_name(name) and not _is_aspect_ratio(value)))
    }


def other_values(params: Mapping[str, Any], references: int, names: Iterable[str] = ()) -> dict[str, str]:
    """Returns the values of all further short params, and the number of references. Seeds change no price."""
    values = {
        name: price_value(value)
        for name, value in params.items()
        if value is not None and _is_name(name) and not (is_price_param(name, value) or name in assumptions.FREE_PARAMS)
    }
    values[REFERENCE_COUNT] = str(references)
    return {name: value for name, value in values.items() if value != UNREADABLE and name not in names}


def _is_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= MAX_NAME_LENGTH


def _parse(text: str) -> tuple[float, str] | None:
    match = NUMBER_WITH_UNIT.fullmatch(text)
    return None if match is None else (float(match[1]), match[2])


def _whole(number: float) -> float:
    return int(number) if number.is_integer() else number
