"""What stands in a manifest and cannot be bought."""

from __future__ import annotations

import attrs


@attrs.frozen
class BadRow:
    """A line of a manifest that is no row, and everything that is wrong with it."""

    line: int
    problems: tuple[str, ...]


def name_taken(name: str, line: int) -> str:
    """The problem of a row whose name is that of another."""
    return f"it has the name {name!r}, and so has line {line}: give each its own"
