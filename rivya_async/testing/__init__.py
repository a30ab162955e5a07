"""For tests of your own code: fixtures for pytest, a service that is one function, virtual time, assertions.

Where this package is installed, pytest finds the fixtures `rivya_sandbox`, `rivya_session` and `rivya_faults` by
itself; see `rivya_async.testing.plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertions import assert_all_settled, assert_no_double_purchase, spent_credits
    from .fake_service import FakeService
    from .fake_transport import FakeRequest, FakeResponse, FakeTransport
    from .virtual_time import Stuck, VirtualTimeLoop, run, wall

__all__ = [
    "FakeRequest",
    "FakeResponse",
    "FakeService",
    "FakeTransport",
    "Stuck",
    "VirtualTimeLoop",
    "assert_all_settled",
    "assert_no_double_purchase",
    "run",
    "spent_credits",
    "wall",
]

_HOMES = {
    "assertions": "assert_all_settled assert_no_double_purchase spent_credits",
    "fake_service": "FakeService",
    "fake_transport": "FakeRequest FakeResponse FakeTransport",
    "virtual_time": "Stuck VirtualTimeLoop run wall",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value
