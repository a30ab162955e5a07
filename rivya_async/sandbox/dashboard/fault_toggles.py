"""The faults as switches: a few ready ones, and whatever was put in force by other means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ..faults.fault import DELIVERY, Fault
from ..faults.registry import FaultRegistry

SUBMIT: Final = "POST /api/v1/generations"
POLL: Final = "GET /api/v1/generations/{task_id}"
FILE: Final = "GET /results/{task_id}/{name}"

MOST_SWITCHES: Final = 60
"""Beyond that, what is off is forgotten, the oldest first; what is in force is always shown."""

READY: Final[Sequence[tuple[str, str, Mapping[str, Any]]]] = (
    ("Lose the answer to a purchase", "one in two; the job is made all the same",
     {"route": SUBMIT, "rate": 0.5, "drop": True, "act": True}),
    ("Fail status requests", "one in four is a 503", {"route": POLL, "rate": 0.25, "status": 503}),
    ("Limit the rate", "one in four is a 429: wait a second", {"rate": 0.25, "status": 429, "retry_after": 1}),
    ("Answer slowly", "every answer a second late", {"delay": 1.0}),
    ("Be down", "every request is a 503", {"status": 503}),
    ("Cut downloads off", "one in two, after 1,000 bytes", {"route": FILE, "rate": 0.5, "truncate": 1000}),
    ("Lose webhook deliveries", "one in two", {"route": DELIVERY, "rate": 0.5, "drop": True}),
)  # fmt: skip


@attrs.frozen(eq=False)
class FaultToggle:
    """A fault that can be put in force and ended."""

    id: str
    name: str
    detail: str
    fault: Fault
    is_ready_made: bool


class FaultToggles:
    """The switches of one sandbox, in the order in which they became known."""

    def __init__(self, faults: FaultRegistry) -> None:
        self._faults = faults
        self._made = 0
        self._all: list[FaultToggle] = []
        for name, detail, fields in READY:
            self._add(Fault(**fields), name, detail, is_ready_made=True)

    def to_wire(self) -> list[dict[str, Any]]:
        """Every switch, whether it is on, and how many requests its fault has hit since then."""
        in_force = self._catch_up()
        return [
            {
                "id": switch.id,
                "name": switch.name,
                "detail": switch.detail,
                "on": switch.fault in in_force,
                "ready_made": switch.is_ready_made,
                "hits": self._faults.hits(switch.fault),
            }
            for switch in self._all
        ]

    def turn(self, switch_id: str, *, on: bool) -> bool:
        """Put a fault in force, or end it; it begins to count anew. False if there is no such switch."""
        in_force = self._catch_up()
        switch = next((each for each in self._all if each.id == switch_id), None)
        if switch is None:
            return False
        if on and switch.fault not in in_force:
            self._faults.add(switch.fault)
        elif not on and switch.fault in in_force:
            self._faults.remove(switch.fault)
        return True

    def _catch_up(self) -> set[Fault]:
        """Know what was added by other means. The faults in force."""
        in_force = set(self._faults)
        known = {switch.fault for switch in self._all}
        for fault in self._faults:
            if fault not in known:
                name, detail = described(fault)
                self._add(fault, name, detail)
        surplus = len(self._all) - MOST_SWITCHES
        for switch in tuple(self._all) if surplus > 0 else ():
            if surplus > 0 and not switch.is_ready_made and switch.fault not in in_force:
                self._all.remove(switch)
                surplus -= 1
        return in_force

    def _add(self, fault: Fault, name: str, detail: str, *, is_ready_made: bool = False) -> None:
        self._made += 1
        self._all.append(FaultToggle(f"fault-{self._made}", name, detail, fault, is_ready_made))


def described(fault: Fault) -> tuple[str, str]:
    """The requests that a fault looks at, and all else that it was given, as its fields say it."""
    given = [
        f"{field.name}={_short(getattr(fault, field.name))}"
        for field in attrs.fields(Fault)
        if field.name != "route" and getattr(fault, field.name) != _default(field)
    ]
    return fault.route or "Every request to the API", ", ".join(given)


def _default(field: attrs.Attribute[Any]) -> Any:
    return field.default


def _short(value: object) -> str:
    if isinstance(value, frozenset):
        numbers = sorted(value)
        return str(numbers[0]) if len(numbers) == 1 else _clipped(str(numbers))
    return _clipped(f"{value:g}" if isinstance(value, float) else repr(value))


def _clipped(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
