"""Faults as text: the tables of a TOML file, or one inline table in a request header."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from .fault import Fault

FAULT_HEADER: Final = "X-Rivya-Sandbox-Fault"
"""Request header with a fault for that request only. The service does not have it."""

SELECTOR_FIELDS: Final = frozenset({"route", "key", "nth", "rate", "times"})
"""Fields that select requests; the header does not take them."""

FIELD_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("route", "key", "code", "body", "body_hex", "stream", "shape"), (str,)),
    **dict.fromkeys(("times", "status", "padding", "receive", "truncate", "after_events"), (int,)),
    **dict.fromkeys(("rate", "age", "delay"), (int, float)),
    **dict.fromkeys(("drop", "act", "stall"), (bool,)),
    **dict.fromkeys(("headers", "members"), (dict,)),
    "nth": (int, list),
    "without": (list,),
    "retry_after": (str, int, float),
}
"""TOML types of the fields of `Fault`, and of `body_hex`, a binary body."""

_ITEM_TYPES: Final[Mapping[str, type]] = {"nth": int, "without": str, "headers": str}

_TYPE_NAMES: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def parse_toml(text: str) -> list[Fault]:
    """Returns the faults of a file, each a table `[[fault]]`; raises ValueError with the invalid fault and field."""
    document = _load_toml(text)
    for name in document:
        if name != "fault":
            raise ValueError(f"there is no {name!r}: a fault is a table [[fault]]")
    tables = document.get("fault", [])
    if not isinstance(tables, list):
        raise ValueError("a fault is a table [[fault]], in two brackets")  # noqa: TRY004  invalid input, not a bug
    faults = []
    for number, table in enumerate(tables, start=1):
        try:
            faults.append(_build_fault(table, FIELD_TYPES))
        except ValueError as error:
            raise ValueError(f"fault {number}: {error}") from None
    return faults


def parse_header(line: str) -> Fault:
    """Returns the fault of a header such as `status=503, retry_after=2`; raises ValueError for an invalid one."""
    table = _load_toml(f"fault = {{{line}}}")["fault"]
    for name in table:
        if name in SELECTOR_FIELDS:
            raise ValueError(f"{name!r} selects requests; the header applies to its own request only")
    return _build_fault(table, [name for name in FIELD_TYPES if name not in SELECTOR_FIELDS])


def _load_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("the nesting is too deep") from None


def _build_fault(table: object, known: Sequence[str] | Mapping[str, Any]) -> Fault:
    if not isinstance(table, dict):
        raise ValueError("it is not a table")  # noqa: TRY004  invalid input, not a bug
    for name, value in table.items():
        if name not in known:
            nearest = get_close_matches(name, known, 1) or [", ".join(known)]
            raise ValueError(f"there is no {name!r}: did you mean {nearest[0]}?")
        _check_type(name, value)
    fields = dict(table)
    if "body_hex" in fields:
        if "body" in fields:
            raise ValueError("body and body_hex exclude each other")
        fields["body"] = bytes.fromhex(fields.pop("body_hex"))
    return Fault(**fields)


def _check_type(name: str, value: object) -> None:
    types, item_type = FIELD_TYPES[name], _ITEM_TYPES.get(name)
    if type(value) not in types:
        item = _TYPE_NAMES.get(item_type or object, "values")
        type_names = {list: f"a list, each {item}", dict: "a table", **_TYPE_NAMES}
        raise ValueError(f"{name} is {' or '.join(type_names[each] for each in types)}, not {value!r}")
    if item_type is not None and isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            if type(item) is not item_type:
                raise ValueError(f"each of {name} is {_TYPE_NAMES[item_type]}, not {item!r}")
