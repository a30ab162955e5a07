"""The active faults of a sandbox: seeded, counted, and matched against requests.

Examples:
    sandbox.faults.add(route="POST /api/v1/generations", nth=1, drop=True, act=True)   # purchased, no response
    sandbox.faults.add(rate=0.02, status=503)                                          # two percent of the requests
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
        matched: _ActiveFault | None = None
        for active in self._active:
            if active.fault.covers(route, path, key) and active.count_request() and matched is None:
                matched = active
        if matched is None:
            return None
        matched.hits += 1
        return matched.fault

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
