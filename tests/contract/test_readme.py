"""The sections and marks of the contract agree with the checks and with the docstrings that cite them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import rivya_async
from rivya_async._core import assumptions

from .assumptions import MANUAL, build_table, replace_table
from .checks import Check
from .runner import ALL_CHECKS

CONTRACT: Final = Path(__file__).with_name("README.md").read_text()
PACKAGE: Final = Path(rivya_async.__file__).parent
CITATION: Final = re.compile(r"contract section (\d+(?:\.\d+)?)|\[(\d+(?:\.\d+)?)\](?=[ .,:;)])")


def contract_sections() -> dict[str, str]:
    """Returns the text of each numbered section, and of each assumption as section 14.n."""
    parts = re.split(r"^## (\d+)\. ", CONTRACT, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    points = re.split(r"^(\d+)\. ", sections["14"], flags=re.MULTILINE)[1:]
    return sections | {f"14.{number}": text for number, text in zip(points[::2], points[1::2], strict=True)}


SECTIONS: Final = contract_sections()


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.name)
def test_check_has_mark_of_its_section(check: Check) -> None:
    text = SECTIONS[check.section]
    is_assumption = check.confidence == "assumed" and check.section.startswith("14.")
    assert is_assumption or f"[{check.confidence}" in text


def test_sections_are_numbered_in_order() -> None:
    assert [number for number in SECTIONS if "." not in number] == [str(number) for number in range(1, 15)]
    assert [number for number in SECTIONS if "." in number] == [f"14.{number}" for number in range(1, 28)]


def test_every_mark_is_known() -> None:
    marks = set(re.findall(r"\[([a-z]+)(?:[: \]])", re.sub(r"`[^`]*`", "", CONTRACT)))
    assert marks <= {"documented", "inferred", "assumed"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_cite_existing_sections(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if '"""' in line or "contract section" in line]
    cited = {found[0] or found[1] for line in lines for found in CITATION.findall(line)}
    assert {each for each in cited if each not in SECTIONS} <= {f"{n}" for n in range(1, 28)}


def test_table_of_assumptions_is_current() -> None:
    manual = MANUAL.read_text(encoding="utf-8")
    assert replace_table(manual) == manual, "run `python -m tests.contract.assumptions`"


def test_table_contains_every_assumption() -> None:
    names = [name for name in vars(assumptions) if name.isupper() and name != "OTHER_ASSUMPTIONS"]
    table = build_table()
    assert len(table.splitlines()) == 2 + len(names) + len(assumptions.OTHER_ASSUMPTIONS)
    assert all(" | `" in line or line.endswith(" |  |") for line in table.splitlines()[2:])
    assert "its reserved credits return at its end. The pages say that they may return." in table


def test_manual_without_markers_is_rejected() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        replace_table("# A manual")
