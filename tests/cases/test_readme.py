"""The list of cases names every fixed case, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = Path(__file__).with_name("README.md").read_text()
CASES: Final = {"C": 25, "D": 20, "B": 26, "S": 20}
"""Number of cases by their letter."""

NAMED_TESTS: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?[`\[]", TABLE)))


@pytest.mark.parametrize("letter", CASES)
def test_every_case_is_listed(letter: str) -> None:
    listed = {int(number) for number in re.findall(rf"^\| {letter}(\d+) \|", TABLE, re.MULTILINE)}
    assert set(range(1, CASES[letter] + 1)) - listed == set()


@pytest.mark.parametrize(("path", "name"), NAMED_TESTS)
def test_named_test_exists(path: str, name: str) -> None:
    assert re.search(rf"^\s*(?:async )?def {name}\b", (ROOT / path).read_text(), re.MULTILINE)


def test_every_row_names_a_test() -> None:
    rows = re.findall(r"^\| [A-Z]\d+ \|.*", TABLE, re.MULTILINE)
    assert [row for row in rows if "`tests/" not in row and "README.md" not in row and "noxfile.py" not in row] == []
