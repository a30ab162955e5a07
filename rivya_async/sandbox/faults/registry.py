"""The active faults of a sandbox, and faults as text: TOML tables, or one inline table in a request header.

Examples:
    sandbox.faults.add(route="POST /api/v1/generations", nth=1, drop=True, act=True)   # purchased, no response
    sandbox.faults.add(rate=0.02, status=503)                                          # two percent of the requests
    sandbox.faults.add(status=429, retry_after=2, times=5)                             # then recovery
    sandbox.faults.load("faults.toml")                                                 # the same as data
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Final

import attrs

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


class FaultRegistry:
    """The active faults in the order of their addition. The first one that matches a request is applied.

    Every fault counts the requests that it covers, also those to which another fault was applied.
    """

    def __init__(self, routes: Collection[str], seed: int = 0) -> None:
        self._routes = tuple(routes)
        self._seed = seed
        self._added = 0
        self._active: list[_ActiveFault] = []

    def add(self, fault: Fault | None = None, **fields: Any) -> Fault:
        """Activates a fault, or one made from these fields, and returns it.

        Raises ValueError if the fault is invalid or names an unknown route.
        """
        if fault is None:
            fault = Fault(**fields)
        elif fields:
            raise ValueError("give a Fault or its fields, not both")
        self._check_route(fault)
        self._added += 1
        rng = random.Random(f"{self._seed}/fault/{self._added}")  # noqa: S311  repeatable faults, not a secret
        self._active.append(_ActiveFault(fault, rng))
        return fault

    def load(self, path: str | PathLike[str]) -> Sequence[Fault]:
        """Activates the faults of a TOML file, each a table `[[fault]]` of the fields of `Fault`. Blocks.

        `body_hex` is a binary body. Raises ValueError, with the invalid fault and field and the nearest valid name, and
        then activates none; OSError if the file cannot be read.
        """
        try:
            faults = parse_toml(Path(path).read_text(encoding="utf-8"))
            for fault in faults:
                self._check_route(fault)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return [self.add(fault) for fault in faults]

    def remove(self, fault: Fault) -> None:
        """Deactivates a fault; raises ValueError if it is not active."""
        kept = [active for active in self._active if active.fault is not fault]
        if len(kept) == len(self._active):
            raise ValueError(f"this fault is not active: {fault!r}")
        self._active = kept

    def clear(self) -> None:
        """Deactivates all faults."""
        self._active.clear()

    def __iter__(self) -> Iterator[Fault]:
        return iter([active.fault for active in self._active])

    def hits(self, fault: Fault) -> int:
        """Returns the number of requests to which this fault was applied since it was added."""
        return sum(active.hits for active in self._active if active.fault is fault)

    def match(self, route: str | None, path: str, key: str | None) -> Fault | None:
        """Counts one request and returns the fault to apply to it, if any."""
        matches = [each for each in self._active if each.fault.covers(route, path, key) and each.count_request()]
        if not matches:
            return None
        matches[0].hits += 1
        return matches[0].fault

    def _check_route(self, fault: Fault) -> None:
        if fault.route is not None and fault.route not in self._routes:
            raise ValueError(f"there is no route {fault.route!r}; the routes are {', '.join(self._routes)}")


@attrs.define(eq=False)
class _ActiveFault:
    """An active fault with its counters and random numbers."""

    fault: Fault
    rng: random.Random
    covered: int = 0
    hits: int = 0

    def count_request(self) -> bool:
        """Counts one covered request; returns True if the fault applies to it."""
        self.covered += 1
        fault = self.fault
        is_drawn = fault.rate is None or self.rng.random() < fault.rate
        is_selected = fault.nth is None or self.covered in fault.nth
        return is_drawn and is_selected and (fault.times is None or self.hits < fault.times)


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
