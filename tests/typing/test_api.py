"""Both type checkers read the code of users without a complaint. `nox -s types` reads all the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USERS = "tests/typing/api.py"

CHECKERS = {
    "mypy": ["mypy", "--strict", "--warn-unused-ignores", "--cache-dir", ".mypy_cache/users", USERS],
    "pyright": ["pyright", "--pythonpath", sys.executable, USERS],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_the_code_of_users_is_well_typed(checker: str) -> None:
    name, *arguments = CHECKERS[checker]
    tool = Path(sys.executable).with_name(name)
    done = subprocess.run([str(tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
