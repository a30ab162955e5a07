"""The plugin as users have it: plain, with pytest-asyncio in both modes, with anyio, each in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from tests.testing.own_pytest import MODES, ran

ROOT: Final = Path(__file__).parents[2]

TESTS: Final = """
import asyncio, time
import pytest
from rivya_async import PollPolicy, RivyaSession, ServerError
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

async def test_a_session_at_a_sandbox(rivya_session, rivya_sandbox):
    job = await rivya_session.generate("z-image", "A red kite")
    assert job.succeeded
    assert rivya_sandbox.request_log.purchases == 1
    assert_no_double_purchase(rivya_sandbox)
    assert_all_settled(rivya_sandbox)
    assert spent_credits(rivya_sandbox) == job.final_credits

async def test_code_of_ones_own(studio):
    assert (await studio.picture("A blue whale")).urls

class TestInAClass:
    async def test_faults(self, rivya_session, rivya_faults, rivya_sandbox):
        rivya_faults.add(route="POST /api/v1/generations", nth=1, drop=True, act=True)
        assert (await rivya_session.generate("z-image", "A red kite")).succeeded
        assert_no_double_purchase(rivya_sandbox)

@pytest.mark.parametrize("status", [500, 503])
async def test_what_fails_for_good(rivya_session, rivya_faults, status):
    rivya_faults.add(route="POST /api/v1/generations", status=status)
    with pytest.raises(ServerError):
        await rivya_session.submit("z-image", "A red kite")

@pytest.mark.rivya_virtual_time
async def test_a_video_of_minutes(rivya_session, rivya_sandbox):
    began, loop = time.perf_counter(), asyncio.get_running_loop()
    at = loop.time()
    jobs = await asyncio.gather(*(rivya_session.generate("kling-3-0", "A kite") for _ in range(10)))
    assert all(job.succeeded for job in jobs)
    assert loop.time() - at > 60
    assert time.perf_counter() - began < 20
    assert_all_settled(rivya_sandbox)

@pytest.mark.rivya_virtual_time
async def test_hours_without_a_sandbox():
    await asyncio.sleep(3600)

async def test_that_fails(rivya_session):
    await rivya_session.submit("z-image", "A red kite")
    assert False, "as it should"
"""

PLAIN: Final = """
import asyncio
from rivya_async import RivyaSession
import pytest

@pytest.fixture
def rivya_sandbox_options():
    return {"credits": 5}

@pytest.fixture
def rivya_session_options():
    return {"max_spend": 1}

def test_a_sandbox_without_a_loop(rivya_sandbox):
    async def main():
        async with RivyaSession(rivya_sandbox.api_key, base_url=rivya_sandbox.base_url) as session:
            return await session.credits.retrieve()
    assert asyncio.run(main()).current_credits == rivya_sandbox.credits == 5

def test_a_session_of_the_fixture(rivya_session):
    async def main():
        async with rivya_session as session:
            await session.submit("z-image", "A kite")
            with pytest.raises(Exception, match="max_spend"):
                await session.submit("z-image", "A kite")
    asyncio.run(main())
"""


ALONE: Final = """
import asyncio, pytest

@pytest.mark.rivya_virtual_time
async def test_days(rivya_session):
    await asyncio.sleep(9e5)
"""


@pytest.mark.parametrize("mode", MODES)
def test_async_tests(mode: str, tmp_path: Path) -> None:
    code, told = ran(tmp_path, TESTS, mode=mode)
    assert "1 failed, 7 passed" in told, told
    assert "as it should" in told
    assert "never closed" not in told
    assert code == 1


def test_plain_tests_need_no_other_plugin(tmp_path: Path) -> None:
    code, told = ran(tmp_path, PLAIN)
    assert (code, "2 passed" in told) == (0, True), told


def test_virtual_time_needs_no_other_plugin(tmp_path: Path) -> None:
    code, told = ran(tmp_path, ALONE)
    assert (code, "1 passed" in told) == (0, True), told


def test_pytest_finds_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert import_module(module).rivya_sandbox


def test_pytest_starts_without_the_client() -> None:
    """Who does not use the fixtures pays for a module, not for the library."""
    loaded = "{'aiohttp', 'cattrs', 'rivya_async.session'} & {*sys.modules}"
    code = f"import sys, pytest, rivya_async.testing.plugin; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == ""
