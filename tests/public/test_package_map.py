"""The map in `rivya_async/README.md` lists the packages, and the modules of `_core` and `_engine`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2] / "rivya_async"
LISTED: Final = re.findall(r"^- `([^`]+)`: .+\.$", (PACKAGE / "README.md").read_text(), re.MULTILINE)
MAPPED: Final = [
    PACKAGE,
    *(path.parent for name in ("_core", "_engine") for path in (PACKAGE / name).rglob("__init__.py")),
]
"""Folders whose modules and packages are listed."""


def expected_paths() -> set[str]:
    modules = {path for folder in MAPPED for path in folder.glob("*.py") if path.name != "__init__.py"}
    packages = {path.parent for folder in MAPPED for path in folder.glob("*/__init__.py")}
    paths = {str(path.relative_to(PACKAGE)) for path in modules | {PACKAGE / "__init__.py"}}
    return paths | {f"{path.relative_to(PACKAGE)}/" for path in packages}


def test_map_matches_the_tree() -> None:
    assert sorted(expected_paths() - set(LISTED)) == [], "missing in the map"
    assert sorted(set(LISTED) - expected_paths()) == [], "listed but absent"


def test_every_path_is_listed_once() -> None:
    assert len(LISTED) == len(set(LISTED))
