"""mypy and pyright accept typical user code. `nox -s types` checks everything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER_CODE = "tests/typing/api.py"

CHECKERS = {
    "mypy": ["mypy", "--strict", "--warn-unused-ignores", "--cache-dir", ".mypy_cache/users", USER_CODE],
    "pyright": ["pyright", "--pythonpath", sys.executable, USER_CODE],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_user_code_is_well_typed(checker: str) -> None:
    name, *arguments = CHECKERS[checker]
    tool = Path(sys.executable).with_name(name)
    done = subprocess.run([str(tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
