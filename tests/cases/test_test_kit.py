"""The test kit with other test tools: virtual time, Hypothesis and anyio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rivya_async import ConfigurationError, RivyaSession
from rivya_async.testing import run
from rivya_async.testing.virtual_time import DeadlockError
from tests.testing.pytest_subprocess import run_pytest

HYPOTHESIS = ("-p", "_hypothesis_pytestplugin")

STUCK_TEST = """
import asyncio, pytest

@pytest.mark.rivya_virtual_time
async def test_stuck(rivya_session):
    await helper(asyncio.Event())

async def helper(event):
    await event.wait()  # stuck here

@pytest.mark.rivya_virtual_time
async def test_stuck_in_library(rivya_session):
    async with asyncio.timeout(None):
        await asyncio.gather(asyncio.Event().wait())  # here
"""


def test_deadlock_names_the_line_of_the_test(tmp_path: Path) -> None:
    """B13: not the line of the plugin that runs it."""
    _, output = run_pytest(tmp_path, STUCK_TEST)
    lines = STUCK_TEST.splitlines()
    for marker in ("stuck here", "# here"):
        number = next(number for number, line in enumerate(lines, 1) if marker in line)
        assert f"at test_user_code.py:{number}" in output, output


def test_deadlock_follows_nested_awaits() -> None:
    """B13: coroutines, awaitable objects and generators."""

    class Waiting:
        def __await__(self) -> Generator[Any, None, None]:
            yield from asyncio.Event().wait().__await__()  # the line

    async def inner() -> None:
        await Waiting()

    async def main() -> None:
        await asyncio.gather(inner())

    with pytest.raises(DeadlockError) as raised:
        run(main())
    first = inspect.getsourcelines(Waiting)[1]
    assert f"at test_test_kit.py:{first + 2}" in str(raised.value)


GIVEN_TESTS = """
import asyncio, pytest
from hypothesis import HealthCheck, given, settings, strategies as st

MARK

seen = []
relaxed = settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))

@pytest.mark.rivya_virtual_time
@relaxed
@given(prompt=st.sampled_from(["A red kite", "A blue whale"]))
async def test_given(rivya_session, rivya_sandbox, prompt):
    began = asyncio.get_running_loop().time()
    assert (await rivya_session.generate("kling-3-0", prompt)).succeeded
    assert asyncio.get_running_loop().time() - began > 10
    seen.append(prompt)

class TestInAClass:
    @pytest.mark.rivya_virtual_time
    @relaxed
    @given(st.integers(1, 9))
    async def test_given(self, hours):
        await asyncio.sleep(3600 * hours)
        seen.append(hours)

@pytest.mark.rivya_virtual_time
@relaxed
@given(st.integers(0, 100))
async def test_fails(number):
    await asyncio.sleep(1)
    assert number == 0

@pytest.mark.rivya_virtual_time
async def test_seen():
    assert {"A red kite", "A blue whale"} < set(seen)
    assert len(seen) > 3
"""


@pytest.mark.parametrize("mode", [None, "pytest-asyncio, auto", "anyio"])
def test_virtual_time_runs_examples_of_hypothesis(mode: str | None, tmp_path: Path) -> None:
    """B24: each example of an async test runs in virtual time."""
    code = GIVEN_TESTS if mode else GIVEN_TESTS.replace("MARK", "")
    _, output = run_pytest(tmp_path, code, *HYPOTHESIS, mode=mode)
    assert "1 failed, 3 passed" in output, output
    assert ": test_fails(\n" in output
    assert "number=1," in output


def test_sync_given_test_is_refused(tmp_path: Path) -> None:
    """B24: the advice for sync tests is for sync tests only."""
    code = GIVEN_TESTS.replace("MARK", "").replace("async def test_given", "def test_given").replace("await ", "")
    _, output = run_pytest(tmp_path, code, *HYPOTHESIS, "-k", "test_given")
    assert "requires an async test" in output


TRIO_TESTS = """
import pytest
pytestmark = pytest.mark.anyio

@pytest.fixture(params=["trio", ("trio", {"restrict_keyboard_interrupt_to_checkpoints": True})])
def anyio_backend(request):
    return request.param

async def test_session(rivya_session):
    await rivya_session.generate("z-image", "A red kite")

@pytest.mark.rivya_virtual_time
async def test_virtual(rivya_session):
    await rivya_session.generate("z-image", "A red kite")

@pytest.mark.rivya_virtual_time
async def test_virtual_without_session():
    pass
"""


@pytest.mark.skipif(find_spec("trio") is None, reason="trio is not installed")
def test_trio_backend_is_refused_with_advice(tmp_path: Path) -> None:
    """B24: not by a bare RuntimeError."""
    _, output = run_pytest(tmp_path, TRIO_TESTS, mode="anyio")
    assert "passed" not in output.splitlines()[-1]
    assert output.count("override the fixture `anyio_backend`") >= 6


def test_session_without_asyncio_names_the_cause() -> None:
    """B24: a session on trio."""

    async def main() -> None:
        async with RivyaSession("rvya_sk_" + "0" * 32):
            pass

    coroutine = main()
    with pytest.raises(ConfigurationError, match="asyncio"):
        coroutine.send(None)
