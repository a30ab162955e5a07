"""A table of text: through rich on a terminal, in plain aligned columns anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import attrs

from .render import to_one_line

GAP: Final = "  "


@attrs.frozen
class Grid:
    """Rows of text under headers. `right` names the columns of numbers, `faint` those that matter less."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[str] = frozenset()
    faint: frozenset[str] = frozenset()

    def plain(self) -> str:
        """Aligned columns, the last one as long as it is."""
        rows = [[to_one_line(cell) for cell in row] for row in [self.headers, *self.rows]]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(self._aligned(row, widths) for row in rows)

    def _aligned(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = [
            cell.rjust(width) if header in self.right else cell.ljust(width)
            for header, cell, width in zip(self.headers, row, widths, strict=True)
        ]
        return GAP.join(cells).rstrip()

    def show(self) -> str | None:
        """Print to a terminal and return None; the plain text where stdout is none, or rich is not installed."""
        if not sys.stdout.isatty():
            return self.plain()
        try:
            from rich import box
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            return self.plain()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for header in self.headers:
            table.add_column(
                header,
                justify="right" if header in self.right else "left",
                style="dim" if header in self.faint else "",
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*(Text(to_one_line(cell)) for cell in row))
        Console().print(table)
        return None
