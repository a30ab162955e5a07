"""The page of all results, which only the benchmarks write: one section per benchmark, with its command and date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

PAGE: Final = Path(__file__).with_name("README.md")

HEAD: Final = """# Benchmarks

`python -m benchmarks` runs every benchmark and writes this page; with a name it replaces the section of one. Nothing
here is typed by hand. Only ratios are comparable between machines, and only figures of the same table. CPU is that of
the client. Everything is on loopback: real networks, and machines under other load, are not measured.

[A comparison with the SDKs of other services](peers/README.md)
"""

SECTION: Final = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def describe(module: ModuleType) -> str:
    """Returns the documentation of a benchmark without its command."""
    paragraphs = re.split(r"\n\s*\n", (module.__doc__ or "").strip())
    return "\n\n".join(each for each in paragraphs if not each.strip().startswith("python -m"))


def update_page(page: str, heading: str, section: str, order: Sequence[str]) -> str:
    """Returns the page with this section. Sections are sorted by the name of their benchmark."""
    sections: dict[str, str] = dict(SECTION.findall(page))
    sections[heading] = section
    known = [each for each in sections if each.partition(" ")[0] in order]
    known.sort(key=lambda each: (order.index(each.partition(" ")[0]), each))
    text = HEAD + "\n" + "\n".join(f"## {each}\n\n{sections[each].strip()}\n" for each in known)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
