"""The faults as toggles of the dashboard: predefined ones, and those that code or the API added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ..faults.fault import DELIVERY, Fault
from ..faults.registry import FaultRegistry

SUBMIT: Final = "POST /api/v1/generations"
POLL: Final = "GET /api/v1/generations/{task_id}"
DOWNLOAD: Final = "GET /results/{task_id}/{name}"

MAX_TOGGLES: Final = 60
"""Toggles beyond which the oldest inactive ones are removed; active ones are always kept."""

PREDEFINED: Final[Sequence[tuple[str, str, Mapping[str, Any]]]] = (
    ("Lose the response to a purchase", "one in two; the job is created all the same",
     {"route": SUBMIT, "rate": 0.5, "drop": True, "act": True}),
    ("Fail status requests", "one in four is a 503", {"route": POLL, "rate": 0.25, "status": 503}),
    ("Limit the rate", "one in four is a 429: wait a second", {"rate": 0.25, "status": 429, "retry_after": 1}),
    ("Respond slowly", "every response a second late", {"delay": 1.0}),
    ("Service outage", "every request is a 503", {"status": 503}),
    ("Cut downloads off", "one in two, after 1,000 bytes", {"route": DOWNLOAD, "rate": 0.5, "truncate": 1000}),
    ("Lose webhook deliveries", "one in two", {"route": DELIVERY, "rate": 0.5, "drop": True}),
)  # fmt: skip


@attrs.frozen(eq=False)
class FaultToggle:
    """A fault that can be activated and deactivated."""

    id: str
    name: str
    detail: str
    fault: Fault
    is_predefined: bool


class FaultToggles:
    """The toggles of one sandbox, in the order in which their faults became known."""

    def __init__(self, faults: FaultRegistry) -> None:
        self._faults = faults
        self._added = 0
        self._toggles: list[FaultToggle] = []
        for name, detail, fields in PREDEFINED:
            self._add(Fault(**fields), name, detail, is_predefined=True)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns every toggle, its state, and the hits of its fault since the activation."""
        active = self._synchronize()
        return [
            {
                "id": toggle.id,
                "name": toggle.name,
                "detail": toggle.detail,
                "on": toggle.fault in active,
                "predefined": toggle.is_predefined,
                "hits": self._faults.hits(toggle.fault),
            }
            for toggle in self._toggles
        ]

    def set_active(self, toggle_id: str, *, active: bool) -> bool:
        """Activates or deactivates a fault; returns False for an unknown toggle."""
        active_faults = self._synchronize()
        toggle = next((each for each in self._toggles if each.id == toggle_id), None)
        if toggle is None:
            return False
        if active and toggle.fault not in active_faults:
            self._faults.add(toggle.fault)
        elif not active and toggle.fault in active_faults:
            self._faults.remove(toggle.fault)
        return True

    def _synchronize(self) -> set[Fault]:
        """Adds toggles for new faults, removes the oldest inactive ones, and returns the active faults."""
        active, known = set(self._faults), {toggle.fault for toggle in self._toggles}
        for fault in self._faults:
            if fault not in known:
                self._add(fault, *describe_fault(fault))
        surplus = len(self._toggles) - MAX_TOGGLES
        if surplus > 0:
            removable = [each for each in self._toggles if not each.is_predefined and each.fault not in active]
            removed = {each.id for each in removable[:surplus]}
            self._toggles = [each for each in self._toggles if each.id not in removed]
        return active

    def _add(self, fault: Fault, name: str, detail: str, *, is_predefined: bool = False) -> None:
        self._added += 1
        self._toggles.append(FaultToggle(f"fault-{self._added}", name, detail, fault, is_predefined))


def describe_fault(fault: Fault) -> tuple[str, str]:
    """Returns the requests that a fault selects, and its other fields that differ from their defaults."""
    details = [
        f"{field.name}={_format_value(getattr(fault, field.name))}"
        for field in attrs.fields(Fault)
        if field.name != "route" and getattr(fault, field.name) != field.default
    ]
    return fault.route or "Every request to the API", ", ".join(details)


def _format_value(value: object) -> str:
    if isinstance(value, frozenset):
        items = sorted(value)
        return str(items[0]) if len(items) == 1 else _shorten(str(items))
    return _shorten(f"{value:g}" if isinstance(value, float) else repr(value))


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
