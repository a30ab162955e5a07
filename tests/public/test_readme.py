"""Runs every code block of the manual: Python as a script, shell lines by bash. CI runs the set-up commands."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

import rivya_async
from rivya_async.sandbox import Sandbox
from tests.workers.redis_server import require_redis

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [
        *(ROOT / folder / "README.md" for folder in (".", "benchmarks", "examples")),
        *sorted(ROOT.glob("rivya_async/**/*.md")),
    ]
}
BLOCKS = [
    (f"{page}:{number}", language, code)
    for page, text in PAGES.items()
    for number, (language, code) in enumerate(re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
]
PYTHON = {where: code for where, language, code in BLOCKS if language == "python"}
TERMINALS = {where: code for where, language, code in BLOCKS if language == "bash" and " &\n" in code}
SHELL = [
    line
    for where, language, code in BLOCKS
    if language == "bash" and where not in TERMINALS
    for line in code.splitlines()
    if line
]
SET_UP = "python3 -m venv "


async def run(cwd: Path, *command: str, api_key: str = "", base_url: str = "") -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"RIVYA_API_KEY": api_key, "RIVYA_BASE_URL": base_url}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON)
async def test_python_block(code: str, tmp_path: Path) -> None:
    """Runs the block; a block for the real service finds a sandbox by the environment."""
    async with Sandbox() as sandbox:
        await run(tmp_path, sys.executable, "-Werror", "-c", code, api_key=sandbox.api_key, base_url=sandbox.base_url)


TEST_FILES = {where: code for where, code in PYTHON.items() if "async def test_" in code}


@pytest.mark.parametrize("code", TEST_FILES.values(), ids=TEST_FILES)
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


@pytest.mark.parametrize("block", TERMINALS.values(), ids=TERMINALS)
async def test_terminal_block(block: str, tmp_path: Path) -> None:
    """Runs a block with background commands as a whole and stops these at its end."""
    require_redis()
    output = await run(tmp_path, "bash", "-euc", f"trap 'kill $(jobs -p); wait' EXIT\n{block}")
    assert "50 downloaded" in output
    assert "2 workers running" in output
    assert len(list((tmp_path / "kites").iterdir())) == 50


def test_ci_runs_the_set_up_commands() -> None:
    assert len([line for line in SHELL if line.startswith(SET_UP)]) == 2
    assert f"'^{SET_UP}'" in (ROOT / ".ci" / "run").read_text()


def test_first_example_has_ten_lines() -> None:
    assert len([line for line in PYTHON["README.md:2"].splitlines() if line]) <= 10


def test_first_page_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 250


def test_every_block_has_a_language() -> None:
    assert {language for _, language, _ in BLOCKS} == {"python", "bash", "text"}


def anchors(text: str) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_page_of_the_package_index_has_absolute_links() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    text = PAGES["README.md"]
    for rule in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert all(link.startswith(("https://", "#")) for link in links)
    repository = project["project"]["urls"]["Repository"]
    assert "![The contact sheet" in text
    assert f"({repository}/blob/main/rivya_async/README.md#waiting)" in text


ERRORS = [name for name in rivya_async.__all__ if name.endswith("Error")]
BASES = {"RivyaError", "APIConnectionError", "APIStatusError", "WaitError"}


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_causes_and_next_steps(name: str) -> None:
    link = f"TROUBLESHOOTING.md#{name.lower()}"
    assert (link in str(getattr(rivya_async, name).__doc__)) == (name not in BASES)
    assert (f"### {name}\n" in PAGES["rivya_async/TROUBLESHOOTING.md"]) == (name not in BASES)
