"""Plain text: the machine, tables, and marks beside what was measured."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version


def machine_line() -> str:
    """Where and when: figures of two machines cannot be compared, ratios can."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, {python}, aiohttp {version('aiohttp')}, "
        f"{time.strftime('%Y-%m-%d')}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need to be: the first to the left, figures to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in [head, ["-" * width for width in widths], *lines[1:]]
    )


def mark(claim: str, measured: str, *, met: bool) -> str:
    """One claim and whether this run bears it out."""
    return f"  {'met   ' if met else 'MISSED'}  {claim}: {measured}"


def progress(what: str) -> None:
    """What is going on, for whoever watches; never part of the report."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
