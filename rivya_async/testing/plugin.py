"""The fixtures and the mark that pytest finds by itself. Works in plain tests, with pytest-asyncio and with anyio.

- `rivya_sandbox`: a `Sandbox` that runs in a thread of its own, for this test alone. `rivya_sandbox_options`: a fixture
  to override, with what `Sandbox` takes.
- `rivya_session`: a `RivyaSession` at it that polls and retries briskly, bound to the loop that uses it first. It is
  closed with that loop, or with the test if the loop goes on: async fixtures may use it to their end, and what a test
  has left on its way is cut. `rivya_session_options`: a fixture to override.
- `rivya_faults`: the faults of the sandbox.
- `@pytest.mark.rivya_virtual_time`: runs an async test in virtual time, with the sandbox on the test's own loop at the
  speed of life: a video that takes ten minutes takes a moment. Async fixtures are not for such tests, for they live on
  another loop; neither are threads that wait for each other, or servers elsewhere.
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
"""How many times faster than life the sandbox works where time is real."""

RUN: Final = pytest.StashKey["Callable[[], None]"]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"{MARK}: run this async test, and the sandbox, in virtual time")


@pytest.fixture
def rivya_sandbox_options() -> Mapping[str, Any]:
    """What `Sandbox` is made with: override it in your own tests."""
    return {}


@pytest.fixture
def rivya_session_options() -> Mapping[str, Any]:
    """What `RivyaSession` is made with: override it in your own tests."""
    return {}


@pytest.fixture
def rivya_sandbox(request: pytest.FixtureRequest, rivya_sandbox_options: Mapping[str, Any]) -> Iterator[Sandbox]:
    """A sandbox for this test alone; in virtual time it is started with the test, and its address is known before."""
    from ..sandbox import Sandbox
    from .background import reserved_port, running
    from .virtual_time import wall

    if _is_virtual(request.node):
        with reserved_port() as port:
            yield Sandbox(**{"port": port, "speed": 1.0, "clock": wall, **rivya_sandbox_options})
    else:
        with running(Sandbox(**{"speed": SPEED, **rivya_sandbox_options})) as sandbox:
            yield sandbox


@pytest.fixture
def rivya_faults(rivya_sandbox: Sandbox) -> FaultRegistry:
    """What goes wrong in the sandbox."""
    return rivya_sandbox.faults


@pytest.fixture
def rivya_session(
    request: pytest.FixtureRequest, rivya_sandbox: Sandbox, rivya_session_options: Mapping[str, Any]
) -> Iterator[RivyaSession]:
    """A session at the sandbox. Nobody need close it: it ends with the loop, or with the test."""
    from .._core.policies import PollPolicy, RetryPolicy
    from .kept_session import KeptSession

    brisk: dict[str, Any] = {
        "poll": PollPolicy(first=0.02, base=0.02, cap=0.1, floor=0.01),
        "retry": RetryPolicy(base=0.01, cap=0.1),
    }
    if "event_loop" in request.fixturenames:
        request.getfixturevalue("event_loop")  # pytest-asyncio before 1.0 merely closes its loop: be done before
    is_virtual = _is_virtual(request.node)
    options = {**({} if is_virtual else brisk), **rivya_session_options}
    session = KeptSession(rivya_sandbox.api_key, base_url=rivya_sandbox.base_url, is_virtual=is_virtual, **options)
    yield session
    session.close_on_its_loop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Put a plain function in the place of a test in virtual time, so that no other plugin runs it."""
    if not isinstance(item, pytest.Function) or not _is_virtual(item):
        return (yield)
    test = item.obj
    if not inspect.iscoroutinefunction(test):
        raise pytest.UsageError(f"{MARK} is for async tests; in others call rivya_async.testing.run(main())")
    names = item._fixtureinfo.argnames  # noqa: SLF001 - as every plugin that calls a test finds them
    arguments = {name: item.funcargs[name] for name in names}
    run: Callable[[], None] = partial(_run, test, arguments, item.funcargs.get("rivya_sandbox"))
    item.stash[RUN] = item.obj = run
    try:
        return (yield)
    finally:
        item.obj = test


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run what is in virtual time here, whatever plugin has made the item."""
    run = pyfuncitem.stash.get(RUN, None)
    if run is None:
        return None
    run()
    return True


def _run(test: Callable[..., Awaitable[None]], arguments: Mapping[str, Any], sandbox: Any, **_: object) -> None:
    from .virtual_time import run

    async def beside_the_sandbox() -> None:
        async with sandbox or nullcontext():
            await test(**arguments)

    run(beside_the_sandbox())


def _is_virtual(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARK) is not None
