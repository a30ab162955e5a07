"""pytest fixtures and the mark for virtual time. They work in sync tests, with pytest-asyncio and with anyio.

- `rivya_sandbox`: a `Sandbox` with seed 0 in its own thread, one per test. Override the fixture
  `rivya_sandbox_options` to change its arguments.
- `rivya_session`: a `RivyaSession` for that sandbox with short poll intervals and retry delays. It is bound to the
  event loop that uses it first and closes with that loop, or after the test if the loop continues. Async fixtures can
  use it until their end. Pending requests of a test are cancelled. Override `rivya_session_options` to change its
  arguments.
- `rivya_faults`: the faults of the sandbox.
- `@pytest.mark.rivya_virtual_time`: runs an async test in virtual time, with the sandbox on the loop of the test at
  real-life speed: a video of ten minutes takes a moment. Do not combine it with async fixtures (they use another loop),
  threads that wait for each other, or servers in other processes.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping

    from ..sandbox import Sandbox
    from ..sandbox.faults.registry import FaultRegistry
    from ..session import RivyaSession

MARK: Final = "rivya_virtual_time"
SPEED: Final = 1000.0
"""Speed factor of the sandbox in real time."""

RUN_TEST: Final = pytest.StashKey["Callable[[], None]"]()


def pytest_configure(config: pytest.Config) -> None:
    """Registers the mark."""
    config.addinivalue_line("markers", f"{MARK}: run this async test, and the sandbox, in virtual time")


@pytest.fixture
def rivya_sandbox_options() -> Mapping[str, Any]:
    """Arguments for `Sandbox`. Override it in your tests."""
    return {}


@pytest.fixture
def rivya_session_options() -> Mapping[str, Any]:
    """Arguments for `RivyaSession`. Override it in your tests."""
    return {}


@pytest.fixture
def rivya_sandbox(request: pytest.FixtureRequest, rivya_sandbox_options: Mapping[str, Any]) -> Iterator[Sandbox]:
    """Yields a sandbox for one test. In virtual time it starts with the test; its address is known before."""
    from ..sandbox import Sandbox
    from .sandbox_thread import reserve_port, run_in_thread
    from .virtual_time import wall_time

    if _is_virtual(request.node):
        with reserve_port() as port:
            yield Sandbox(**{"seed": 0, "port": port, "speed": 1.0, "clock": wall_time, **rivya_sandbox_options})
    else:
        with run_in_thread(Sandbox(**{"seed": 0, "speed": SPEED, **rivya_sandbox_options})) as sandbox:
            yield sandbox


@pytest.fixture
def rivya_faults(rivya_sandbox: Sandbox) -> FaultRegistry:
    """Returns the faults of the sandbox."""
    return rivya_sandbox.faults


@pytest.fixture
def rivya_session(
    request: pytest.FixtureRequest, rivya_sandbox: Sandbox, rivya_session_options: Mapping[str, Any]
) -> Iterator[RivyaSession]:
    """Yields a session for the sandbox, which closes with its event loop or after the test."""
    from .._core.policies import PollPolicy, RetryPolicy
    from .auto_closing_session import AutoClosingSession

    fast: dict[str, Any] = {
        "poll": PollPolicy(first=0.02, base=0.02, cap=0.1, floor=0.01),
        "retry": RetryPolicy(base=0.01, cap=0.1),
    }
    if "event_loop" in request.fixturenames:
        request.getfixturevalue("event_loop")  # pytest-asyncio before 1.0 only closes its loop: close the session first
    is_virtual = _is_virtual(request.node)
    options = {**({} if is_virtual else fast), **rivya_session_options}
    session = AutoClosingSession(
        rivya_sandbox.api_key, base_url=rivya_sandbox.base_url, is_virtual=is_virtual, **options
    )
    yield session
    session.close_on_its_loop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Replaces a virtual-time test by a sync function, so that no other plugin runs it."""
    if not isinstance(item, pytest.Function) or not _is_virtual(item):
        return (yield)
    test = item.obj
    if not inspect.iscoroutinefunction(test):
        raise pytest.UsageError(f"{MARK} requires an async test. Call rivya_async.testing.run(main()) in a sync test.")
    names = item._fixtureinfo.argnames  # noqa: SLF001 - the only source of the test's own arguments
    arguments = {name: item.funcargs[name] for name in names}
    run: Callable[[], None] = partial(_run, test, arguments, item.funcargs.get("rivya_sandbox"))
    item.stash[RUN_TEST] = item.obj = run
    try:
        return (yield)
    finally:
        item.obj = test


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Runs a virtual-time test, also if another plugin created the item."""
    run = pyfuncitem.stash.get(RUN_TEST, None)
    if run is None:
        return None
    run()
    return True


def _run(test: Callable[..., Awaitable[None]], arguments: Mapping[str, Any], sandbox: Any, **_: object) -> None:
    from .virtual_time import run

    async def run_with_sandbox() -> None:
        async with sandbox or nullcontext():
            await test(**arguments)

    run(run_with_sandbox())


def _is_virtual(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARK) is not None
