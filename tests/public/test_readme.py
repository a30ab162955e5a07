"""Runs every code block of the README: Python as a script, shell lines by bash. CI runs the set-up commands."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.workers.redis_server import require_redis

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PYTHON = [code for language, code in BLOCKS if language == "python"]
TERMINALS = [code for language, code in BLOCKS if language == "bash" and " &\n" in code]
SHELL = [
    line
    for language, code in BLOCKS
    if language == "bash" and code not in TERMINALS
    for line in code.splitlines()
    if line
]
SET_UP = "python3 -m venv "


async def run(cwd: Path, *command: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"RIVYA_API_KEY": "", "RIVYA_BASE_URL": ""}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
async def test_python_block(code: str, tmp_path: Path) -> None:
    await run(tmp_path, sys.executable, "-Werror", "-c", code)


TEST_FILES = [code for code in PYTHON if "async def test_" in code]


@pytest.mark.parametrize("code", TEST_FILES, ids=range(len(TEST_FILES)))
async def test_test_file(code: str, tmp_path: Path) -> None:
    (tmp_path / "test_studio.py").write_text(code)
    plugins = (
        "-p",
        "pytest_asyncio.plugin",
        "-p",
        "rivya_async.testing.plugin",
    )  # as in a project without other plugins
    options = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function", "-W", "error")
    command = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest", "-q")
    output = await run(tmp_path, *command, *plugins, *options)
    assert re.search(r"^\d+ passed in", output, re.MULTILINE), output


@pytest.mark.parametrize("line", [line for line in SHELL if not line.startswith(SET_UP)])
async def test_shell_line(line: str, tmp_path: Path) -> None:
    assert await run(tmp_path, "bash", "-c", line)


@pytest.mark.parametrize("block", TERMINALS, ids=range(len(TERMINALS)))
async def test_terminal_block(block: str, tmp_path: Path) -> None:
    """Runs a block with background commands as a whole and stops these at its end."""
    require_redis()
    output = await run(tmp_path, "bash", "-euc", f"trap 'kill $(jobs -p); wait' EXIT\n{block}")
    assert "50 downloaded" in output
    assert "2 workers at work" in output
    assert len(list((tmp_path / "kites").iterdir())) == 50


def test_ci_runs_the_set_up_commands() -> None:
    assert len([line for line in SHELL if line.startswith(SET_UP)]) == 2
    assert f"'^{SET_UP}'" in (ROOT / ".ci" / "run").read_text()


def test_first_example_has_ten_lines() -> None:
    assert len([line for line in PYTHON[0].splitlines() if line]) <= 10


def test_every_block_has_a_language() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "bash"}
