"""What stands in a manifest and cannot be bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .row import Row


@attrs.frozen
class InvalidRow:
    """A line of a manifest that cannot be bought, and everything that is wrong with it.

    `row` is what it says, if only the catalogue or the disk are against it; None if it is no row.
    """

    line: int
    problems: tuple[str, ...]
    row: Row | None = attrs.field(default=None, eq=False, repr=False)


def duplicate_name_problem(name: str, line: int) -> str:
    """The problem of a row whose name is that of another."""
    return f"it has the name {name!r}, and so has line {line}: give each its own"
