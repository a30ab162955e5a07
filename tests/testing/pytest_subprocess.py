"""Runs pytest in a subprocess with the named plugins only, as a project of a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

SCOPE: Final = ("-o", "asyncio_default_fixture_loop_scope=function")
MODES: Final[dict[str, tuple[str, ...]]] = {
    "pytest-asyncio, auto": ("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto", *SCOPE),
    "pytest-asyncio, strict": ("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=strict", *SCOPE),
    "anyio": ("-p", "anyio.pytest_plugin"),
    "both": ("-p", "anyio.pytest_plugin", "-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=strict", *SCOPE),
}
ANYIO: Final = "pytestmark = pytest.mark.anyio\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'"
MARKS: Final = {
    "pytest-asyncio, auto": "",
    "pytest-asyncio, strict": "pytestmark = pytest.mark.asyncio",
    "anyio": ANYIO,
    "both": ANYIO,
}
ASYNC_FIXTURES: Final = {
    "pytest-asyncio, auto": "async_fixture = pytest.fixture",
    "pytest-asyncio, strict": "import pytest_asyncio; async_fixture = pytest_asyncio.fixture",
    "anyio": "async_fixture = pytest.fixture",
    "both": "async_fixture = pytest.fixture",
}


def run_pytest(folder: Path, code: str, *options: str, mode: str | None = None) -> tuple[int, str]:
    """Runs the code as a test file. Returns the exit code and the output.

    Replaces "MARK" and "ASYNC_FIXTURE" in the code by the mark and the fixture decorator of the mode.
    """
    if mode is not None:
        code = code.replace("ASYNC_FIXTURE", ASYNC_FIXTURES[mode]).replace("MARK", MARKS[mode], 1)
        options = (*MODES[mode], *options)
    (folder / "test_user_code.py").write_text(code)
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--strict-markers",
         "-p", "rivya_async.testing.plugin", *options],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "RIVYA_API_KEY": "", "RIVYA_BASE_URL": ""},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )  # fmt: skip
    return process.returncode, process.stdout + process.stderr
