"""Test kit for code that uses this SDK: pytest fixtures, an in-memory service, virtual time and assertions.

pytest finds the fixtures `rivya_sandbox`, `rivya_session` and `rivya_faults` of an installed package; see
`rivya_async.testing.plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertions import assert_all_settled, assert_no_double_purchase, spent_credits
    from .fake_service import FakeService
    from .fake_transport import FakeRequest, FakeResponse, FakeTransport
    from .virtual_time import DeadlockError, VirtualTimeLoop, run, wall_time

_NAMES_BY_MODULE = {
    "assertions": "assert_all_settled assert_no_double_purchase spent_credits",
    "fake_service": "FakeService",
    "fake_transport": "FakeRequest FakeResponse FakeTransport",
    "virtual_time": "DeadlockError VirtualTimeLoop run wall_time",
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()}

__all__ = [
    "DeadlockError",
    "FakeRequest",
    "FakeResponse",
    "FakeService",
    "FakeTransport",
    "VirtualTimeLoop",
    "assert_all_settled",
    "assert_no_double_purchase",
    "run",
    "spent_credits",
    "wall_time",
]


if not TYPE_CHECKING:  # type checkers would accept every name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        return value


def __dir__() -> list[str]:
    return list(__all__)
