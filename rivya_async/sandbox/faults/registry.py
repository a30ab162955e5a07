"""The faults in force. The server misbehaves exactly as told, and repeatably.

Examples:
    sandbox.faults.add(route="POST /api/v1/generations", nth=1, drop=True, act=True)   # bought, but nobody was told
    sandbox.faults.add(rate=0.02, status=503)                                          # two of a hundred requests
    sandbox.faults.add(status=429, retry_after=2, times=5)                             # then recovery
    sandbox.faults.load("faults.toml")                                                 # the same as data
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import attrs

from .fault import Fault
from .parsing import parse_toml


class FaultRegistry:
    """The faults in force, in the order in which they were added. The first one that hits a request wins.

    Every fault counts the requests that it covers, also those that another fault hit.
    """

    def __init__(self, routes: Collection[str], seed: int = 0) -> None:
        self._routes = tuple(routes)
        self._seed = seed
        self._added = 0
        self._armed: list[_ActiveFault] = []

    def add(self, fault: Fault | None = None, **fields: Any) -> Fault:
        """Put a fault in force: one made before, or one made from these fields. Returns it, for `remove`.

        ValueError if the fault makes no sense, or names a route that the sandbox does not have.
        """
        if fault is None:
            fault = Fault(**fields)
        elif fields:
            raise ValueError("give a Fault or its fields, not both")
        self._check_route(fault)
        self._added += 1
        dice = random.Random(f"{self._seed}/fault/{self._added}")  # noqa: S311  repeatable faults, not a secret
        self._armed.append(_ActiveFault(fault, dice))
        return fault

    def load(self, path: str | PathLike[str]) -> Sequence[Fault]:
        """Put the faults of a TOML file in force, each a table `[[fault]]` of the fields of `Fault`. Blocks.

        `body_hex` gives a body that is no text. ValueError names the fault and the field that make no sense, with the
        nearest that does; then none is in force. OSError if the file cannot be read.
        """
        try:
            faults = parse_toml(Path(path).read_text(encoding="utf-8"))
            for fault in faults:
                self._check_route(fault)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return [self.add(fault) for fault in faults]

    def remove(self, fault: Fault) -> None:
        """End a fault; ValueError if it is not in force."""
        kept = [armed for armed in self._armed if armed.fault is not fault]
        if len(kept) == len(self._armed):
            raise ValueError(f"not in force: {fault!r}")
        self._armed = kept

    def clear(self) -> None:
        """End all faults."""
        self._armed.clear()

    def __iter__(self) -> Iterator[Fault]:
        """The faults in force, in the order in which they were added."""
        return iter([armed.fault for armed in self._armed])

    def hits(self, fault: Fault) -> int:
        """How many requests this fault has hit; 0 if it is not in force."""
        return sum(armed.hits for armed in self._armed if armed.fault is fault)

    def match(self, route: str | None, path: str, key: str | None) -> Fault | None:
        """The fault that hits this request, if any. For the server: each call counts one request."""
        struck: _ActiveFault | None = None
        for armed in self._armed:
            if armed.fault.covers(route, path, key) and armed.is_due() and struck is None:
                struck = armed
        if struck is None:
            return None
        struck.hits += 1
        return struck.fault

    def _check_route(self, fault: Fault) -> None:
        if fault.route is not None and fault.route not in self._routes:
            raise ValueError(f"there is no route {fault.route!r}; the routes are {', '.join(self._routes)}")


@attrs.define(eq=False)
class _ActiveFault:
    """A fault in force and its own count and dice."""

    fault: Fault
    dice: random.Random
    covered: int = 0
    hits: int = 0

    def is_due(self) -> bool:
        """Count one covered request; whether the fault would hit it."""
        self.covered += 1
        fault = self.fault
        is_lucky = fault.rate is None or self.dice.random() < fault.rate
        is_its_turn = fault.nth is None or self.covered in fault.nth
        return is_lucky and is_its_turn and (fault.times is None or self.hits < fault.times)
