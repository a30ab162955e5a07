"""Faults as text: the tables of a TOML file, or one of them on one line, as a header holds it. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from .fault import Fault

HEADER: Final = "X-Rivya-Sandbox-Fault"
"""The fault of this one request. Of the sandbox only: the service knows no such header."""

SELECTOR_FIELDS: Final = frozenset({"route", "key", "nth", "rate", "times"})
"""What says which requests are hit, and so has no meaning in one of them."""

_TEXT, _WHOLE, _NUMBER, _SWITCH = (str,), (int,), (int, float), (bool,)

FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "route": _TEXT,
    "key": _TEXT,
    "nth": (int, list),
    "rate": _NUMBER,
    "times": _WHOLE,
    "status": _WHOLE,
    "code": _TEXT,
    "body": _TEXT,
    "body_hex": _TEXT,
    "headers": (dict,),
    "retry_after": (str, int, float),
    "members": (dict,),
    "without": (list,),
    "padding": _WHOLE,
    "age": _NUMBER,
    "delay": _NUMBER,
    "drop": _SWITCH,
    "receive": _WHOLE,
    "act": _SWITCH,
    "truncate": _WHOLE,
    "stall": _SWITCH,
    "stream": _TEXT,
    "after_events": _WHOLE,
    "shape": _TEXT,
}
"""What each field is in TOML. All are fields of `Fault`, but `body_hex`: a body that is no text."""

_INSIDE: Final[Mapping[str, type]] = {"nth": int, "without": str, "headers": str}

_NAMES: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def parse_toml(text: str) -> list[Fault]:
    """The faults of a file, each a table `[[fault]]`. ValueError says what is wrong, and where."""
    found = _tables(text)
    for name in found:
        if name != "fault":
            raise ValueError(f"there is no {name!r}: a fault is a table [[fault]]")
    tables = found.get("fault", [])
    if not isinstance(tables, list):
        raise ValueError("a fault is a table [[fault]], in two brackets")  # noqa: TRY004  the file, not the code
    faults = []
    for number, table in enumerate(tables, start=1):
        try:
            faults.append(_fault(table, FIELDS))
        except ValueError as error:
            raise ValueError(f"fault {number}: {error}") from None
    return faults


def parse_header(line: str) -> Fault:
    """The fault of one request, written as in a file: `status=503, retry_after=2`. ValueError says what is wrong."""
    table = _tables(f"fault = {{{line}}}")["fault"]
    for name in table:
        if name in SELECTOR_FIELDS:
            raise ValueError(f"{name!r} chooses among requests, and this is one")
    return _fault(table, [name for name in FIELDS if name not in SELECTOR_FIELDS])


def _tables(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is too deep") from None


def _fault(table: object, known: Sequence[str] | Mapping[str, Any]) -> Fault:
    if not isinstance(table, dict):
        raise ValueError("it is no table")  # noqa: TRY004  the file, not the code
    for name, value in table.items():
        if name not in known:
            near = get_close_matches(name, known, 1) or [", ".join(known)]
            raise ValueError(f"there is no {name!r}: did you mean {near[0]}?")
        _check(name, value)
    fields = dict(table)
    if "body_hex" in fields:
        if "body" in fields:
            raise ValueError("body and body_hex exclude each other")
        fields["body"] = bytes.fromhex(fields.pop("body_hex"))
    return Fault(**fields)


def _check(name: str, value: object) -> None:
    kinds = FIELDS[name]
    if type(value) not in kinds:
        raise ValueError(f"{name} is {_spoken(name, kinds)}, not {value!r}")
    inside = _INSIDE.get(name)
    if inside is None or not isinstance(value, list | dict):
        return
    for each in value.values() if isinstance(value, dict) else value:
        if type(each) is not inside:
            raise ValueError(f"each of {name} is {_NAMES[inside]}, not {each!r}")


def _spoken(name: str, kinds: Sequence[type]) -> str:
    inside = _NAMES.get(_INSIDE.get(name, object), "values")
    words = {list: f"a list, each {inside}", dict: "a table", **_NAMES}
    return " or ".join(words[kind] for kind in kinds)
