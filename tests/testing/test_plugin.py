"""The plugin with sync tests, pytest-asyncio in both modes and anyio, each in its own pytest process."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from tests.testing.pytest_subprocess import MODES, run_pytest

ROOT: Final = Path(__file__).parents[2]

ASYNC_TESTS: Final = """
import asyncio, time
import pytest
from rivya_async import PollPolicy, RivyaSession, InternalServerError
from rivya_async.testing import assert_all_settled, assert_no_double_purchase, spent_credits

MARK

class Studio:
    def __init__(self, session):
        self.session = session

    async def picture(self, prompt):
        return await self.session.generate("z-image", prompt)

@pytest.fixture
def studio(rivya_session):
    return Studio(rivya_session)

async def test_session_and_sandbox(rivya_session, rivya_sandbox):
    job = await rivya_session.generate("z-image", "A red kite")
    assert job.succeeded
    assert rivya_sandbox.request_log.purchases == 1
    assert_no_double_purchase(rivya_sandbox)
    assert_all_settled(rivya_sandbox)
    assert spent_credits(rivya_sandbox) == job.final_credits

async def test_application_code(studio):
    assert (await studio.picture("A blue whale")).urls

class TestInAClass:
    async def test_faults(self, rivya_session, rivya_faults, rivya_sandbox):
        rivya_faults.add(route="POST /api/v1/generations", nth=1, drop=True, act=True)
        assert (await rivya_session.generate("z-image", "A red kite")).succeeded
        assert_no_double_purchase(rivya_sandbox)

@pytest.mark.parametrize("status", [500, 503])
async def test_permanent_failure(rivya_session, rivya_faults, status):
    rivya_faults.add(route="POST /api/v1/generations", status=status)
    with pytest.raises(InternalServerError):
        await rivya_session.submit("z-image", "A red kite")

@pytest.mark.rivya_virtual_time
async def test_long_video(rivya_session, rivya_sandbox):
    started_at, loop = time.perf_counter(), asyncio.get_running_loop()
    at = loop.time()
    jobs = await asyncio.gather(*(rivya_session.generate("kling-3-0", "A kite") for _ in range(10)))
    assert all(job.succeeded for job in jobs)
    assert loop.time() - at > 60
    assert time.perf_counter() - started_at < 20
    assert_all_settled(rivya_sandbox)

@pytest.mark.rivya_virtual_time
async def test_without_sandbox():
    await asyncio.sleep(3600)

async def test_fails(rivya_session):
    await rivya_session.submit("z-image", "A red kite")
    assert False, "expected failure"
"""

SYNC_TESTS: Final = """
import asyncio
from rivya_async import RivyaSession
import pytest

@pytest.fixture
def rivya_sandbox_options():
    return {"credits": 5}

@pytest.fixture
def rivya_session_options():
    return {"max_spend": 1}

def test_sandbox_without_loop(rivya_sandbox):
    async def main():
        async with RivyaSession(rivya_sandbox.api_key, base_url=rivya_sandbox.base_url) as session:
            return await session.credits.retrieve()
    assert asyncio.run(main()).current_credits == rivya_sandbox.credits == 5

def test_session_fixture(rivya_session):
    async def main():
        async with rivya_session as session:
            await session.submit("z-image", "A kite")
            with pytest.raises(Exception, match="max_spend"):
                await session.submit("z-image", "A kite")
    asyncio.run(main())
"""


VIRTUAL_TIME_TEST: Final = """
import asyncio, pytest

@pytest.mark.rivya_virtual_time
async def test_days(rivya_session):
    await asyncio.sleep(9e5)
"""


@pytest.mark.parametrize("mode", MODES)
def test_async_tests(mode: str, tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, ASYNC_TESTS, mode=mode)
    assert "1 failed, 7 passed" in output, output
    assert "expected failure" in output
    assert "never closed" not in output
    assert code == 1


def test_sync_tests_need_no_other_plugin(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SYNC_TESTS)
    assert (code, "2 passed" in output) == (0, True), output


def test_virtual_time_needs_no_other_plugin(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, VIRTUAL_TIME_TEST)
    assert (code, "1 passed" in output) == (0, True), output


def test_entry_point_names_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert import_module(module).rivya_sandbox


def test_plugin_import_does_not_import_client() -> None:
    loaded = "{'aiohttp', 'cattrs', 'rivya_async.session'} & {*sys.modules}"
    code = f"import sys, pytest, rivya_async.testing.plugin; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == ""
