"""The commands of this project. Plain `nox` runs what CI runs, in the environment that nox was installed in."""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "contracts", "tests", "examples"]

CODE = ("rivya_async", "tests", "examples", "benchmarks", "noxfile.py")


def run(session: nox.Session, tool: str, *arguments: str, **environment: str) -> None:
    """Run a tool of this very environment, so that no session installs anything."""
    session.run(str(Path(sys.executable).with_name(tool)), *arguments, external=True, env=environment or None)


@nox.session(python=False)
def demo(session: nox.Session) -> None:
    """Submit, wait for and download a batch on the embedded sandbox."""
    run(session, "rivya", "demo", *session.posargs)


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    run(session, "ruff", "check", *CODE)
    run(session, "ruff", "format", "--check", *CODE)


@nox.session(python=False)
def types(session: nox.Session) -> None:
    run(session, "mypy")
    run(session, "pyright", "--pythonpath", sys.executable)


@nox.session(python=False)
def contracts(session: nox.Session) -> None:
    """The floors and rooms of the house, kept by import-linter."""
    run(session, "lint-imports")


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """All tests, with branch coverage: 95 % overall, 100 % of the pure floor."""
    run(session, "coverage", "erase")
    run(session, "coverage", "run", "-m", "pytest", "-n", "auto", *session.posargs)
    run(session, "coverage", "combine", "--quiet")
    run(session, "coverage", "report", "--include=rivya_async/_core/*", "--fail-under=100")
    run(session, "coverage", "report", "--fail-under=95")


@nox.session(python=False)
def examples(session: nox.Session) -> None:
    """The examples, each started for real."""
    run(session, "pytest", "tests/examples", *session.posargs)


@nox.session(python=False)
def bench(session: nox.Session) -> None:
    """Print every performance claim, measured side by side."""
    run(session, "python", "-m", "benchmarks", *session.posargs)


@nox.session(python=False)
def crash(session: nox.Session) -> None:
    """The long crash test: a batch of 300 rows is killed two hundred times, and nothing is purchased twice."""
    run(session, "pytest", "tests/batch/test_crash.py", *session.posargs, RIVYA_KILLS="200")


@nox.session(python=False)
def screenshot(session: nox.Session) -> None:
    """Take the manual's pictures of pages again."""
    run(session, "python", "-m", "tests.dashboard.screenshot", "examples/sandbox-page.jpg")
    run(session, "python", "-m", "tests.batch.screenshot", "examples/batch-report.jpg", "examples/contact-sheet.jpg")


@nox.session(python=False)
def live(session: nox.Session) -> None:
    """Hold the real service to the contract: RIVYA_API_KEY, RIVYA_BASE_URL; `-- --spend` may cost credits."""
    run(session, "python", "-m", "tests.contract", *session.posargs)
