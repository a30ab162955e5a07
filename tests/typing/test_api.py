"""mypy and pyright accept typical user code. `nox -s types` checks everything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.typing.blocking_stub import STUB, StubWriter

ROOT = Path(__file__).parents[2]
USER_CODE = "tests/typing/api.py"

MISTAKES = """
from rivya_async import RivyaSesion
from rivya_async.testing import FakeTransprt
import rivya_async
rivya_async.RetryPolcy()
"""

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


@pytest.mark.parametrize("checker", CHECKERS)
def test_misspelt_names_are_errors(checker: str, tmp_path: Path) -> None:
    """Packages that import names on first use hide their `__getattr__` from type checkers."""
    name, *arguments = CHECKERS[checker]
    user_code = tmp_path / "user_code.py"
    user_code.write_text(MISTAKES)
    tool = Path(sys.executable).with_name(name)
    command = [str(tool), *arguments[:-1], str(user_code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.count("error:") == 3, done.stdout
    for misspelt in ("RivyaSesion", "FakeTransprt", "RetryPolcy"):
        assert misspelt in done.stdout


def test_stub_of_the_blocking_session_is_current() -> None:
    assert STUB.read_text() == StubWriter().build(), "run python -m tests.typing.blocking_stub"
