"""The commands of this project. Plain `nox` runs what CI runs, in the environment that nox was installed in."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nox
from packaging.requirements import Requirement
from packaging.version import Version

nox.options.sessions = ["lint", "types", "contracts", "audit", "lowest", "tests"]

LOWEST_TESTS = (
    *("tests/jobs", "tests/core/test_operations.py", "tests/workers/test_stores.py"),
    *("tests/session/test_submit.py", "tests/session/test_transport.py"),
)

CORE_TESTS = ("tests/core", "tests/models")

QUICK_TESTS = (
    *("tests/core", "tests/jobs", "tests/engine/test_wait_registry.py", "tests/engine/test_request_executor.py"),
    *("tests/session/test_submit.py", "tests/session/test_wait.py", "tests/session/test_lifecycle.py"),
    *("tests/session/test_uvloop.py", "tests/batch/test_batch.py", "tests/receiver/test_verify.py"),
    *("tests/public/test_exports.py", "tests/dashboard/test_browser.py::test_job_appears_and_shows_image"),
)
"""The pure layer, purchase, wait and batch, and one page in a browser."""

STRESS_TESTS = ("tests/engine", "tests/session", "tests/batch", "tests/workers", "tests/receiver", "tests/sandbox")

FUZZ_TESTS = ("tests/core", "tests/receiver/test_receiver_properties.py", "tests/batch/test_manifest.py")
"""Tests of the parsers of bytes from others: event streams, headers, signatures, manifests, forms and JSON."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")

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
    """Check the layers and packages with import-linter."""
    run(session, "lint-imports")


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """All tests; those of the pure core must cover all of its branches."""
    run(session, "coverage", "erase")
    run(session, "coverage", "run", "-m", "pytest", "-n", "auto", *CORE_TESTS)
    run(session, "coverage", "combine", "--quiet")
    run(session, "coverage", "report", "--include=rivya_async/_core/*", "--fail-under=100")
    processes = str(max(4, os.cpu_count() or 1))  # these tests wait more than they work
    run(session, "pytest", "-n", processes, *(f"--ignore={each}" for each in CORE_TESTS), *session.posargs)


@nox.session(python=False)
def quick(session: nox.Session) -> None:
    """The tests to run before each commit: the pure layer with few examples, the main path, and one browser page."""
    options = ("-n", "auto", "-q", *session.posargs)
    run(session, "pytest", *options, *QUICK_TESTS, RIVYA_EXAMPLES="5", RIVYA_BROWSER_TESTS=has_chromium())


def has_chromium() -> str:
    """Returns the value of `RIVYA_BROWSER_TESTS`: without a browser its tests are skipped."""
    return "1" if shutil.which("chromium") else ""


def tests_on(session: nox.Session) -> None:
    """The quick tests on this Python; pass paths for others: `-- tests`."""
    session.install("--quiet", "--editable", ".[dev]")
    paths = session.posargs or QUICK_TESTS
    session.run("python", "-m", "pytest", "-n", "auto", "-q", *paths, env={"RIVYA_EXAMPLES": "5"})


for version in PYTHONS:
    nox.session(python=version, venv_backend="uv", name=f"tests-{version}")(tests_on)


@nox.session(python=False)
def stress(session: nox.Session) -> None:
    """Tests five times in random order beside four busy loops, with two processes and with eight."""
    paths = session.posargs or STRESS_TESTS
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        for workers, _ in itertools.product(("2", "8"), range(5)):
            run(session, "pytest", "-n", workers, "-q", "-p", "randomly", *paths)
    finally:
        for each in busy:
            each.kill()
            each.wait()


@nox.session(python=False)
def fuzz(session: nox.Session) -> None:
    """The properties of the parsers with 5,000 examples each: `-- --examples 100000` for more."""
    paths, examples = list(session.posargs), "5000"
    if "--examples" in paths:
        at = paths.index("--examples")
        examples = paths[at + 1]
        del paths[at : at + 2]
    run(session, "pytest", "-n", "auto", "-q", *(paths or FUZZ_TESTS), RIVYA_EXAMPLES=examples)


@nox.session(python=False)
def coverage(session: nox.Session) -> None:
    """All tests, with the branch coverage of the whole package: 95 %."""
    run(session, "coverage", "erase")
    run(session, "coverage", "run", "-m", "pytest", "-n", "auto", *session.posargs)
    run(session, "coverage", "combine", "--quiet")
    run(session, "coverage", "report", "--fail-under=95")


SAFE_VERSIONS = {
    "aiohttp": ("3.14.3", "CVE-2026-69244"),
    "fastapi": ("0.133", "the first that accepts a safe starlette"),
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "orjson": ("3.11.6", "CVE-2025-67221"),
    "pillow": ("12.3", "PYSEC-2026-2257"),
    "pyarrow": ("23.0.1", "CVE-2026-25087"),
    "pytest": ("9.0.3", "CVE-2025-71176"),
    "redis": ("4.5.4", "CVE-2023-28859"),
    "requests": ("2.33", "CVE-2026-25645"),
    "starlette": ("1.3.1", "CVE-2026-54283"),
}
"""The first release without a known vulnerability, with the latest advisory, of each dependency that had one."""


@nox.session(python=False)
def audit(session: nox.Session) -> None:
    """Compare the lower bounds with the known advisories; `-- --online` asks pip-audit about the installed versions."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in map(Requirement, itertools.chain.from_iterable(lists)):
        safe, advisory = SAFE_VERSIONS.get(requirement.name, ("0", ""))
        bounds = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
        if safe != "0" and max(bounds, default=Version("0")) < Version(safe):
            session.error(f"{requirement} allows a release with {advisory}: require at least {safe}")
    if "--online" in session.posargs:
        run(session, "python", "-m", "pip", "install", "--quiet", "pip-audit")
        run(session, "pip-audit", "--skip-editable")


@nox.session(python=False)
def lowest(session: nox.Session) -> None:
    """A quick part of the tests with the lowest versions that pyproject.toml allows."""
    python, uv = Path(session.create_tmp(), "lowest").absolute(), ("-m", "uv")
    run(session, "python", *uv, "venv", "--quiet", "--clear", str(python))
    install = ("pip", "install", "--quiet", "--python", str(python))
    extras = ".[cli,otel,parquet,sandbox,speed,workers]"
    run(session, "python", *uv, *install, "--resolution", "lowest-direct", "--editable", extras)
    run(session, "python", *uv, *install, "pytest", "pytest-asyncio", "pytest-randomly", "pytest-xdist", "hypothesis")
    command = (str(python / "bin" / "python"), "-m", "pytest", "-n", "auto", "-q")
    session.run(*command, *(session.posargs or LOWEST_TESTS), external=True)


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
def simulate(session: nox.Session) -> None:
    """Simulate many seeds in virtual time: `-- --seeds 20000`; `-- --seed 7` replays one."""
    run(session, "python", "-m", "tests.simulation", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the site of the manual into build/site; a warning is an error."""
    run(session, "mkdocs", "build", "--quiet", "--config-file", "tests/site/mkdocs.yml", NO_MKDOCS_2_WARNING="1")


@nox.session(python=False)
def pictures(session: nox.Session) -> None:
    """Update the pictures of the manual: drawings, plots and screenshots."""
    run(session, "python", "-m", "benchmarks.drawings", "examples")
    run(session, "python", "-m", "benchmarks", "schedule", "--picture", "benchmarks/schedule.png")
    run(session, "python", "-m", "tests.dashboard.screenshot", "examples/sandbox-page.jpg")
    run(session, "python", "-m", "tests.batch.screenshot", "examples/batch-report.jpg", "examples/contact-sheet.jpg")


@nox.session(python=False)
def live(session: nox.Session) -> None:
    """Check the real service against the contract: RIVYA_API_KEY, RIVYA_BASE_URL; `-- --spend` may cost credits."""
    run(session, "python", "-m", "tests.contract", *session.posargs)
