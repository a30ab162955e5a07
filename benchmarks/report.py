"""Reports in Markdown: the machine, tables and targets."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version


def describe_machine() -> str:
    """Returns machine, load, versions and date. Only ratios are comparable between machines."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    return (
        f"{os.cpu_count()} cores, {load}{platform.machine()}, {platform.system()}, {python}, "
        f"aiohttp {version('aiohttp')}, {time.strftime('%Y-%m-%d')}"
    )


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Formats a table, with an empty line before it: the first column left-aligned, the others right-aligned."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in (max(2, each) for each in widths[1:]))]
    return "\n" + "\n".join(
        f"| {' | '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])} |"
        for line in [head, rule, *lines[1:]]
    )


def target(claim: str, measured: str, *, met: bool) -> str:
    """Formats a target, its measured value and whether the run met it."""
    return f"- {'met' if met else 'MISSED'}: {claim}: {measured}"


def show_progress(what: str) -> None:
    """Shows the progress on a terminal; not part of the report."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
