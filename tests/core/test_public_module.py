"""The module that public classes show."""

from __future__ import annotations

from typing import get_type_hints

from rivya_async._core.public_module import set_public_module


def test_annotations_are_evaluated_before_the_module_changes() -> None:
    class Public:
        number: int
        unknown: Missing  # type: ignore[name-defined]  # noqa: F821 - a name for type checkers only

    set_public_module("rivya_async", Public)
    assert Public.__module__ == "rivya_async"
    assert Public.__annotations__ == {"number": int, "unknown": "Missing"}


def test_evaluated_annotations_are_kept() -> None:
    class Public:
        pass

    Public.__annotations__ = {"number": int}
    set_public_module("rivya_async", Public)
    assert get_type_hints(Public) == {"number": int}
