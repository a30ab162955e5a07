"""Writes the table of assumptions in the manual: `python -m tests.contract.assumptions`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from rivya_async._core import assumptions

MANUAL: Final = Path(__file__).parents[2] / "README.md"
"""The file with the table."""

BEGIN: Final = "<!-- assumptions: written by python -m tests.contract.assumptions -->"
END: Final = "<!-- end of assumptions -->"
POINT: Final = re.compile(r"\[(\d+)\] ")
MAX_VALUE_LENGTH: Final = 240
"""Maximum length of a shown value, in characters."""


def build_table() -> str:
    """Returns the table: the point of section 14, the assumption, and its value."""
    rows = sorted(_rows(), key=lambda row: row[0])
    lines = [f"| {point or ''} | {text} | {value} |" for point, text, value in rows]
    return "\n".join(["| Point | Assumption | Value |", "|---|---|---|", *lines])


def replace_table(text: str) -> str:
    """Returns a text with the current table. Raises `ValueError` if it has no markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{MANUAL} has no place for the table: add the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{build_table()}\n{END}{after}"


def _rows() -> Iterator[tuple[int, str, str]]:
    body = ast.parse(Path(assumptions.__file__).read_text(encoding="utf-8")).body
    for statement, following in pairwise(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if name == "OTHER_ASSUMPTIONS":
            continue
        if not isinstance(following, ast.Expr) or not isinstance(following.value, ast.Constant):
            raise ValueError(f"{name} has no docstring")
        yield (*_split_point(str(following.value.value)), _format_value(getattr(assumptions, name)))
    for text in assumptions.OTHER_ASSUMPTIONS:
        yield (*_split_point(text), "")


def _split_point(text: str) -> tuple[int, str]:
    text = " ".join(text.split())
    point = POINT.match(text)
    return (0, text) if point is None else (int(point[1]), text[point.end() :])


def _format_value(value: Any) -> str:
    if isinstance(value, re.Pattern):
        text = value.pattern
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key}: {number:g}" for key, number in value.items())
    elif isinstance(value, frozenset | tuple):
        text = ", ".join(map(str, sorted(value) if isinstance(value, frozenset) else value))
    else:
        text = f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
    if len(text) > MAX_VALUE_LENGTH:
        text = f"{text[:MAX_VALUE_LENGTH]}..."
    return f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    MANUAL.write_text(replace_table(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
