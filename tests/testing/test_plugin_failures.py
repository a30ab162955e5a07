"""The fixtures when tests fail, are cancelled, leave pending work, are repeated or run in parallel."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

import pytest

from tests.testing.pytest_subprocess import MODES, run_pytest

PENDING_REQUESTS: Final = """
import asyncio, pytest
ASYNC_FIXTURE
MARK

async def test_fails_during_stalled_response(rivya_session, rivya_faults):
    rivya_faults.add(route="GET /api/v1/credits", truncate=5, stall=True)
    asyncio.create_task(rivya_session.credits.retrieve())
    await asyncio.sleep(0.05)
    assert False, "expected failure"

async def test_fails_during_delayed_response(rivya_session, rivya_faults):
    rivya_faults.add(route="GET /api/v1/credits", delay=30)
    asyncio.create_task(rivya_session.credits.retrieve())
    await asyncio.sleep(0.05)
    assert False, "expected failure"

async def test_cancels_itself(rivya_session):
    asyncio.current_task().cancel()
    await rivya_session.generate("z-image", "A kite")

async def test_leaves_pending_waits(rivya_session):
    test_leaves_pending_waits.tasks = [
        asyncio.create_task(rivya_session.generate("kling-3-0", "A kite")) for _ in range(20)
    ]
    await asyncio.sleep(0.05)

@pytest.mark.rivya_virtual_time
async def test_leaves_pending_waits_in_virtual_time(rivya_session):
    asyncio.create_task(rivya_session.generate("kling-3-0", "A kite"))
    await asyncio.sleep(5)
    assert False, "expected failure"

async def test_next(rivya_session):
    assert (await rivya_session.generate("z-image", "A kite")).succeeded

@async_fixture
async def submitted(rivya_session):
    job = await rivya_session.submit("z-image", "A kite")
    yield job
    assert (await rivya_session.wait_for(job)).succeeded     # the session is still open

async def test_fixture_ends_later(submitted):
    assert submitted.id
"""

SYNC_TESTS: Final = """
import asyncio, pytest

@pytest.fixture
async def submitted(rivya_session):
    return await rivya_session.submit("z-image", "A kite")

def test_sync_with_async_fixture(submitted):
    assert submitted.id
"""

RERUN_PLUGIN: Final = """
import pytest
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):               # as plugins do that repeat failed tests
    runtestprotocol(item, nextitem=nextitem, log=False)
    item._initrequest()
    runtestprotocol(item, nextitem=nextitem, log=True)
    return True
"""

TWO_TESTS: Final = """
import asyncio, pytest
MARK

@pytest.mark.parametrize("number", range(4))
async def test_in_time(rivya_session, number):
    assert (await rivya_session.generate("z-image", "A kite")).succeeded

@pytest.mark.rivya_virtual_time
@pytest.mark.parametrize("number", range(4))
async def test_in_virtual_time(rivya_session, number):
    assert (await rivya_session.generate("kling-3-0", "A kite")).succeeded
"""

LEGACY_EVENT_LOOP: Final = """
import asyncio, pytest

@pytest.fixture
def event_loop():                                          # as pytest-asyncio had it before 1.0
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()

def pytest_collection_modifyitems(items):
    for item in items:
        item.fixturenames.append("event_loop")

def pytest_pyfunc_call(pyfuncitem):
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.funcargs["event_loop"].run_until_complete(pyfuncitem.obj(**arguments))
    return True
"""

MODULE_SCOPED_LOOP: Final = """
import asyncio, pytest
pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest.mark.parametrize("number", range(3))
async def test_generate(rivya_session, rivya_faults, number):
    rivya_faults.add(route="GET /api/v1/credits", delay=30)
    asyncio.create_task(rivya_session.credits.retrieve())
    assert (await rivya_session.generate("z-image", "A kite")).succeeded
    assert len(asyncio.all_tasks()) < 10
"""

WITH_HYPOTHESIS: Final = """
from hypothesis import given, settings, HealthCheck, strategies as st

@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3, deadline=None, database=None)
@given(st.integers(1, 5))
async def test_generate(rivya_session, number):
    assert (await rivya_session.generate("z-image", "A kite" * number)).succeeded
"""

IN_VIRTUAL_TIME: Final = """
import socket, pytest

@pytest.mark.rivya_virtual_time
def test_sync(rivya_sandbox):
    pass

@pytest.fixture
def reserved_port_is_in_use(rivya_sandbox):
    with socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(rivya_sandbox.base_url.rpartition(":")[2])))
        with pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.1", int(rivya_sandbox.base_url.rpartition(":")[2])))
        yield

@pytest.fixture
async def submitted(rivya_session):
    return await rivya_session.submit("z-image", "A kite")

@pytest.mark.rivya_virtual_time
async def test_async_fixture(submitted):
    pass

@pytest.mark.rivya_virtual_time
async def test_port_is_reserved(reserved_port_is_in_use, rivya_session):
    await rivya_session.credits.retrieve()
"""


@pytest.mark.parametrize("mode", MODES)
def test_pending_requests_are_cancelled(mode: str, tmp_path: Path) -> None:
    started_at = time.perf_counter()
    _, output = run_pytest(tmp_path, PENDING_REQUESTS, mode=mode)
    assert time.perf_counter() - started_at < 25  # the delayed response arrives after 30 s
    assert "never closed" not in output
    assert "never retrieved" not in output
    failed = set(re.findall(r"^FAILED test_user_code.py::(\w+)", output, re.MULTILINE))
    assert failed == {
        "test_fails_during_stalled_response",
        "test_fails_during_delayed_response",
        "test_cancels_itself",
        "test_leaves_pending_waits_in_virtual_time",
    }, output
    assert "4 failed, 3 passed in" in output, output


@pytest.mark.parametrize("mode", MODES)
def test_repeated_test_run(mode: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(RERUN_PLUGIN)
    code, output = run_pytest(tmp_path, TWO_TESTS, mode=mode)
    assert (code, "8 passed" in output) == (0, True), output


@pytest.mark.parametrize("mode", MODES)
def test_xdist(mode: str, tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, TWO_TESTS, "-p", "xdist", "-n", "2", mode=mode)
    assert (code, "8 passed" in output) == (0, True), output


def test_module_scoped_loop(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, MODULE_SCOPED_LOOP, mode="pytest-asyncio, strict")
    assert (code, "3 passed" in output) == (0, True), output


def test_loop_closed_without_shutdown(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(LEGACY_EVENT_LOOP)
    code, output = run_pytest(tmp_path, TWO_TESTS.replace("MARK", ""))
    assert (code, "8 passed" in output) == (0, True), output


def test_sync_test_with_async_fixture(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SYNC_TESTS, mode="pytest-asyncio, auto")
    assert (code, "1 passed" in output) == (0, True), output


def test_hypothesis(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, WITH_HYPOTHESIS, mode="pytest-asyncio, auto")
    assert (code, "1 passed" in output) == (0, True), output


def test_virtual_time_requires_async_tests_and_reserves_port(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, IN_VIRTUAL_TIME, mode="pytest-asyncio, auto")
    assert (code, "1 failed, 1 passed, 1 error" in output) == (1, True), output
    assert "rivya_session was used by an async fixture of a rivya_virtual_time test" in output
    assert "rivya_virtual_time requires an async test. Call rivya_async.testing.run(main()) in a sync test." in output
