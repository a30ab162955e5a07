"""The fixtures where tests fail, are cancelled, leave work behind, run twice or side by side."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

import pytest

from tests.testing.own_pytest import MODES, ran

LEFT_BEHIND: Final = """
import asyncio, pytest
ASYNC_FIXTURE
MARK

async def test_that_fails_while_an_answer_stalls(rivya_session, rivya_faults):
    rivya_faults.add(route="GET /api/v1/credits", truncate=5, stall=True)
    asyncio.create_task(rivya_session.credits.retrieve())
    await asyncio.sleep(0.05)
    assert False, "as it should"

async def test_that_fails_while_an_answer_is_late(rivya_session, rivya_faults):
    rivya_faults.add(route="GET /api/v1/credits", delay=30)
    asyncio.create_task(rivya_session.credits.retrieve())
    await asyncio.sleep(0.05)
    assert False, "as it should"

async def test_that_is_cancelled(rivya_session):
    asyncio.current_task().cancel()
    await rivya_session.generate("z-image", "A kite")

async def test_that_leaves_waits_behind(rivya_session):
    test_that_leaves_waits_behind.tasks = [
        asyncio.create_task(rivya_session.generate("kling-3-0", "A kite")) for _ in range(20)
    ]
    await asyncio.sleep(0.05)

@pytest.mark.rivya_virtual_time
async def test_that_leaves_waits_behind_in_virtual_time(rivya_session):
    asyncio.create_task(rivya_session.generate("kling-3-0", "A kite"))
    await asyncio.sleep(5)
    assert False, "as it should"

async def test_the_next(rivya_session):
    assert (await rivya_session.generate("z-image", "A kite")).succeeded

@async_fixture
async def bought(rivya_session):
    job = await rivya_session.submit("z-image", "A kite")
    yield job
    assert (await rivya_session.wait_for(job)).succeeded     # the session is not closed yet

async def test_whose_fixture_ends_later(bought):
    assert bought.id
"""

PLAIN: Final = """
import asyncio, pytest

@pytest.fixture
async def bought(rivya_session):
    return await rivya_session.submit("z-image", "A kite")

def test_that_is_plain_and_has_an_async_fixture(bought):
    assert bought.id
"""

RUN_TWICE: Final = """
import pytest
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):               # as plugins that run again what failed
    runtestprotocol(item, nextitem=nextitem, log=False)
    item._initrequest()
    runtestprotocol(item, nextitem=nextitem, log=True)
    return True
"""

SIMPLE: Final = """
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

MERELY_CLOSES: Final = """
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

OF_A_LOOP_FOR_ALL: Final = """
import asyncio, pytest
pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest.mark.parametrize("number", range(3))
async def test_it(rivya_session, rivya_faults, number):
    rivya_faults.add(route="GET /api/v1/credits", delay=30)
    asyncio.create_task(rivya_session.credits.retrieve())
    assert (await rivya_session.generate("z-image", "A kite")).succeeded
    assert len(asyncio.all_tasks()) < 10
"""

WITH_HYPOTHESIS: Final = """
from hypothesis import given, settings, HealthCheck, strategies as st

@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3, deadline=None, database=None)
@given(st.integers(1, 5))
async def test_it(rivya_session, number):
    assert (await rivya_session.generate("z-image", "A kite" * number)).succeeded
"""

IN_VIRTUAL_TIME: Final = """
import socket, pytest

@pytest.mark.rivya_virtual_time
def test_that_is_plain(rivya_sandbox):
    pass

@pytest.fixture
def thief(rivya_sandbox):
    with socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(rivya_sandbox.base_url.rpartition(":")[2])))
        with pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.1", int(rivya_sandbox.base_url.rpartition(":")[2])))
        yield

@pytest.fixture
async def bought(rivya_session):
    return await rivya_session.submit("z-image", "A kite")

@pytest.mark.rivya_virtual_time
async def test_with_an_async_fixture(bought):
    pass

@pytest.mark.rivya_virtual_time
async def test_whose_port_nobody_takes(thief, rivya_session):
    await rivya_session.credits.retrieve()
"""


@pytest.mark.parametrize("mode", MODES)
def test_what_is_left_behind_is_cut(mode: str, tmp_path: Path) -> None:
    began = time.perf_counter()
    _, told = ran(tmp_path, LEFT_BEHIND, mode=mode)
    assert time.perf_counter() - began < 25  # the answer that is late comes after 30 s
    assert "never closed" not in told
    assert "never retrieved" not in told
    failed = set(re.findall(r"^FAILED test_mine.py::(\w+)", told, re.MULTILINE))
    assert failed == {
        "test_that_fails_while_an_answer_stalls",
        "test_that_fails_while_an_answer_is_late",
        "test_that_is_cancelled",
        "test_that_leaves_waits_behind_in_virtual_time",
    }, told
    assert "4 failed, 3 passed in" in told, told


@pytest.mark.parametrize("mode", MODES)
def test_a_test_may_be_run_again(mode: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(RUN_TWICE)
    code, told = ran(tmp_path, SIMPLE, mode=mode)
    assert (code, "8 passed" in told) == (0, True), told


@pytest.mark.parametrize("mode", MODES)
def test_side_by_side(mode: str, tmp_path: Path) -> None:
    code, told = ran(tmp_path, SIMPLE, "-p", "xdist", "-n", "2", mode=mode)
    assert (code, "8 passed" in told) == (0, True), told


def test_a_loop_that_goes_on_keeps_nothing_of_a_test(tmp_path: Path) -> None:
    code, told = ran(tmp_path, OF_A_LOOP_FOR_ALL, mode="pytest-asyncio, strict")
    assert (code, "3 passed" in told) == (0, True), told


def test_a_loop_that_is_merely_closed(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(MERELY_CLOSES)
    code, told = ran(tmp_path, SIMPLE.replace("MARK", ""))
    assert (code, "8 passed" in told) == (0, True), told


def test_a_session_of_an_async_fixture_is_closed_after_a_plain_test(tmp_path: Path) -> None:
    code, told = ran(tmp_path, PLAIN, mode="pytest-asyncio, auto")
    assert (code, "1 passed" in told) == (0, True), told


def test_with_hypothesis(tmp_path: Path) -> None:
    code, told = ran(tmp_path, WITH_HYPOTHESIS, mode="pytest-asyncio, auto")
    assert (code, "1 passed" in told) == (0, True), told


def test_virtual_time_is_for_async_tests_and_has_its_port(tmp_path: Path) -> None:
    code, told = ran(tmp_path, IN_VIRTUAL_TIME, mode="pytest-asyncio, auto")
    assert (code, "1 failed, 1 passed, 1 error" in told) == (1, True), told
    assert "in virtual time rivya_session is for the test itself, not for async fixtures" in told
    assert "rivya_virtual_time is for async tests; in others call rivya_async.testing.run(main())" in told
