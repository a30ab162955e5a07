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

import asyncio
import inspect
from contextlib import AsyncExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Coroutine, Generator, Iterator, Mapping

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
    _check_backend(request.fixturenames, request.getfixturevalue)
    if "event_loop" in request.fixturenames:
        request.getfixturevalue("event_loop")  # pytest-asyncio before 1.0 only closes its loop: close the session first
    is_virtual = _is_virtual(request.node)
    options = {**({} if is_virtual else fast), **rivya_session_options}
    session = AutoClosingSession(
        rivya_sandbox.api_key, base_url=rivya_sandbox.base_url, is_virtual=is_virtual, **options
    )
    yield session
    session.close_on_its_loop()


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of the hook of Hypothesis, which inspects the test
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Replaces a virtual-time test by a sync function, so that no other plugin runs it."""
    if not isinstance(item, pytest.Function) or not _is_virtual(item):
        return (yield)
    test, hypothesis = item.obj, getattr(item.obj, "hypothesis", None)
    function = test if hypothesis is None else hypothesis.inner_test
    if not inspect.iscoroutinefunction(function):
        raise pytest.UsageError(f"{MARK} requires an async test. Call rivya_async.testing.run(main()) in a sync test.")
    _check_backend(item.funcargs, item.funcargs.__getitem__)
    names = item._fixtureinfo.argnames  # noqa: SLF001 - the only source of the test's own arguments
    arguments = {name: item.funcargs[name] for name in names}
    run: Any = partial(_run, test, function, arguments, item.funcargs.get("rivya_sandbox"))
    if hypothesis is not None:
        run.hypothesis = hypothesis  # pytest-asyncio and anyio read it
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


def _run(
    test: Any,
    function: Callable[..., Coroutine[Any, Any, None]],
    arguments: Mapping[str, Any],
    sandbox: Any,
    **_: object,
) -> None:
    """Runs the test, or each example of a test of Hypothesis, on one event loop in virtual time."""
    with _virtual_loop(sandbox) as run:
        if function is test:
            run(function(**arguments))
            return

        @wraps(function)  # Hypothesis reports its name
        def run_example(*args: Any, **kwargs: Any) -> None:
            run(function(*args, **kwargs))

        replaced, test.hypothesis.inner_test = test.hypothesis.inner_test, run_example
        try:
            test(**arguments)
        finally:
            test.hypothesis.inner_test = replaced


@contextmanager
def _virtual_loop(sandbox: Any) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Yields a function that runs a coroutine on a loop in virtual time, on which the sandbox runs."""
    from .virtual_time import VirtualTimeLoop

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        stack = AsyncExitStack()
        try:
            if sandbox is not None:
                runner.run(stack.enter_async_context(sandbox))
            yield runner.run
        finally:
            runner.run(stack.aclose())


def _check_backend(names: Container[str], get: Callable[[str], Any]) -> None:
    """Raises `UsageError` for a test that anyio runs on another backend than asyncio."""
    backend = get("anyio_backend") if "anyio_backend" in names else "asyncio"
    name = backend if isinstance(backend, str) else backend[0]
    if name != "asyncio":
        raise pytest.UsageError(
            f"rivya_async runs on asyncio, not on {name}: override the fixture `anyio_backend` to return 'asyncio'."
        )


def _is_virtual(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARK) is not None
