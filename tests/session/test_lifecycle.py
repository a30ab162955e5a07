"""The life of a session: loops, forks, closing and cancellation."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rivya_async import (
    ConfigurationError,
    Generation,
    OutcomeUnknownError,
    RequestNotSentError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    SessionClosedError,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import (
    FAST,
    FILE,
    POLL,
    QUICK_POLL,
    QUICK_RETRY,
    SLOW,
    SUBMIT,
    RecordingHooks,
    duplicate_purchases,
    open_session,
    plain_server,
    run_script,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("each_transport")

KEY = "rvya_sk_0123456789abcdef0123456789abcdef"


# --- loops ------------------------------------------------------------------------------------------------------------


def test_session_can_precede_loop() -> None:
    session = RivyaSession(KEY, base_url="http://127.0.0.1:9", retry=QUICK_RETRY)

    async def main() -> None:
        async with session:
            with pytest.raises(RequestNotSentError):
                await session.credits.retrieve()

    asyncio.run(main())


def test_unused_session_leaves_nothing() -> None:
    with catch_warnings() as caught_warnings:
        RivyaSession(KEY)
        gc.collect()
    assert caught_warnings == []


def test_close_unused_session() -> None:
    session = RivyaSession(KEY)
    asyncio.run(session.aclose())
    with pytest.raises(SessionClosedError, match="closed"):
        asyncio.run(session.credits.retrieve())


@pytest.mark.parametrize("call", ["submit", "generate", "wait_for", "watch", "as_completed", "download", "enter"])
def test_rejects_second_loop(call: str) -> None:
    async def main() -> RivyaSession:
        async with Sandbox(speed=FAST) as sandbox:
            session = open_session(sandbox)
            await session.generate("z-image", "A red kite")
        return session

    async def again(session: RivyaSession) -> None:
        with pytest.raises(ConfigurationError, match="loop"):
            await CALLS[call](session)

    session = asyncio.run(main())
    asyncio.run(again(session))
    with catch_warnings() as caught_warnings:
        del session
        gc.collect()
    check_single_warning(caught_warnings)


def check_single_warning(caught_warnings: list[warnings.WarningMessage]) -> None:
    """Checks for exactly one warning of the SDK. asyncio may add warnings about sockets of a closed loop."""
    others = [warning for warning in caught_warnings if not str(warning.message).startswith("unclosed transport")]
    assert [warning.category for warning in others] == [ResourceWarning], [
        str(each.message) for each in caught_warnings
    ]
    assert "RivyaSession" in str(others[0].message)
    assert "never closed" in str(others[0].message)


async def consumed(generator: Any) -> list[Any]:
    return [item async for item in generator]


CALLS: dict[str, Any] = {
    "submit": lambda s: s.submit("z-image", "A blue whale"),
    "generate": lambda s: s.generate("z-image", "A blue whale"),
    "wait_for": lambda s: s.wait_for("task_1"),
    "watch": lambda s: _later(lambda: consumed(s.watch("task_1"))),
    "as_completed": lambda s: _later(lambda: consumed(s.as_completed(["task_1"]))),
    "download": lambda s: s.download("http://127.0.0.1:9/a.png", "out/"),
    "enter": lambda s: s.__aenter__(),
    "retrieve": lambda s: s.generations.retrieve("task_1"),
    "models": lambda s: s.models.list(),
    "credits": lambda s: s.credits.retrieve(),
    "openapi": lambda s: s.openapi.retrieve(),
}


async def _later(call: Any) -> Any:
    return await call()


def test_close_on_another_loop_after_the_first() -> None:
    async def main() -> RivyaSession:
        async with Sandbox(speed=FAST) as sandbox:
            session = open_session(sandbox)
            await session.generate("z-image", "A red kite")
            return session

    session = asyncio.run(main())
    with catch_warnings() as caught_warnings:
        asyncio.run(session.aclose())  # its loop is gone: there is nothing to wait for
        del session
        gc.collect()
    assert [each for each in caught_warnings if not str(each.message).startswith("unclosed transport")] == []


def test_rejects_close_while_other_loop_runs() -> None:
    async def main() -> None:
        async with Sandbox(speed=FAST) as sandbox, open_session(sandbox) as session:
            await session.submit("z-image", "A red kite")

            def elsewhere() -> None:
                with pytest.raises(ConfigurationError, match="loop"):
                    asyncio.run(session.aclose())

            await asyncio.to_thread(elsewhere)
            assert (await session.generate("z-image", "A blue whale")).succeeded

    asyncio.run(main())


@pytest.mark.parametrize("call", CALLS)
async def test_rejects_calls_after_close(sandbox: Sandbox, call: str) -> None:
    async with open_session(sandbox) as session:
        await session.submit("z-image", "A red kite")
    seen = sandbox.request_log.count()
    with pytest.raises(SessionClosedError, match="closed"):
        await CALLS[call](session)
    assert sandbox.request_log.count() == seen
    await session.aclose()
    assert "closed" in repr(session)


def test_loop_ends_before_session() -> None:
    """Neither use nor finalization raises "Event loop is closed"."""
    loop = asyncio.new_event_loop()

    async def main() -> RivyaSession:
        async with Sandbox(speed=FAST) as sandbox:
            session = open_session(sandbox)
            await session.submit("z-image", "A red kite")
            return session

    session = loop.run_until_complete(main())
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    with catch_warnings() as caught_warnings:
        del session
        gc.collect()
    check_single_warning(caught_warnings)


# --- never closed -----------------------------------------------------------------------------------------------------


@contextmanager
def catch_warnings() -> Iterator[list[warnings.WarningMessage]]:
    gc.collect()
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        yield caught_warnings
        gc.collect()


async def test_unclosed_session_warns_once(sandbox: Sandbox) -> None:
    session = open_session(sandbox)
    await session.generate("z-image", "A red kite")
    with catch_warnings() as caught_warnings:
        del session
        gc.collect()
        await asyncio.sleep(0.01)
        gc.collect()
    (only,) = caught_warnings
    assert only.category is ResourceWarning
    assert "RivyaSession" in str(only.message)
    assert "never closed" in str(only.message)
    assert "Unclosed" not in str(only.message)
    assert sandbox.api_key not in str(only.message)


NEVER_CLOSED = """
import asyncio, sys
from rivya_async import RivyaSession

async def main():
    global session
    session = RivyaSession(sys.argv[1], base_url=sys.argv[2])
    await session.submit("z-image", "A red kite")

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del session", "import gc; gc.collect()"])
async def test_interpreter_exit(sandbox: Sandbox, end: str) -> None:
    code, out, err = await run_script(NEVER_CLOSED + end, sandbox.api_key, sandbox.base_url, dev=False, strict=False)
    assert (code, out) == (0, "")
    assert "1 open job: task_" in err
    assert len(err.splitlines()) == 1
    code, out, err = await run_script(NEVER_CLOSED + end, sandbox.api_key, sandbox.base_url, strict=False)
    assert (code, out) == (0, "")
    assert err.count("never closed") == 1
    assert "Unclosed" not in err
    assert "Event loop is closed" not in err
    assert "Traceback" not in err
    assert sandbox.api_key not in err


# --- fork -------------------------------------------------------------------------------------------------------------

FORKED = """
import asyncio, os, sys
from rivya_async import ConfigurationError, PollPolicy, RivyaSession

async def main():
    async with RivyaSession(sys.argv[1], base_url=sys.argv[2], poll=PollPolicy(first=0.01, floor=0.01)) as session:
        await session.submit("z-image", "A red kite")
        child = os.fork()
        if child == 0:
            asyncio.set_event_loop(None)
            asyncio.events._set_running_loop(None)
            said = asyncio.new_event_loop().run_until_complete(in_child(session))
            os.write(1, said.encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert (await session.generate("z-image", "A blue whale")).succeeded
    os.write(1, b"parent well")

async def in_child(session):
    try:
        await session.submit("z-image", "A grey seal")
    except ConfigurationError as error:
        said = str(error)
    await session.aclose()
    del session
    return said + "\\n"

asyncio.run(main())
"""


FORKED_BETWEEN_RUNS = """
import asyncio, gc, os, sys
from rivya_async import PollPolicy, RivyaSession

loop = asyncio.new_event_loop()
session = RivyaSession(sys.argv[1], base_url=sys.argv[2], poll=PollPolicy(first=0.01, floor=0.01))
loop.run_until_complete(session.submit("z-image", "A red kite"))
child = os.fork()
if child == 0:
    del session
    gc.collect()
    os.write(1, b"fork\\n")
    os._exit(0)
os.waitpid(child, 0)
assert loop.run_until_complete(session.generate("z-image", "A blue whale")).succeeded
loop.run_until_complete(session.aclose())
loop.close()
os.write(1, b"parent well")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize("code", [FORKED, FORKED_BETWEEN_RUNS], ids=["while it runs", "between two runs"])
async def test_fork_rejects_child_and_keeps_parent(sandbox: Sandbox, code: str) -> None:
    status, out, err = await run_script(code, sandbox.api_key, sandbox.base_url, dev=False, strict=False)
    assert status == 0
    assert "1 open job: task_" in err
    assert len(err.splitlines()) == 1, "only the parent warns"
    assert "fork" in out.splitlines()[0]
    assert out.splitlines()[1] == "parent well"
    assert sandbox.request_log.purchases == 2
    assert sandbox.request_log.count("POST /api/v1/generations") == 2, "the child has taken the parent's connections"


# --- closing while something is on ------------------------------------------------------------------------------------


@pytest.fixture
async def slow() -> Any:
    async with Sandbox(speed=SLOW) as running:
        yield running


async def test_closing_ends_waits_with_task_ids(slow: Sandbox) -> None:
    session = open_session(slow)
    jobs = [await session.submit("z-image", f"Kite {n}") for n in range(20)]
    waits: list[asyncio.Task[Any]] = [asyncio.create_task(session.wait_for(job)) for job in jobs]
    waits += [asyncio.create_task(consumed(session.watch(job))) for job in jobs]
    waits += [asyncio.create_task(session.wait_for(job, on_update=lambda _: None)) for job in jobs]
    group = asyncio.create_task(consumed(session.as_completed(jobs)))
    polls = slow.request_log.count(POLL)
    await wait_until(lambda: slow.request_log.count(POLL) > polls + 50)
    async with asyncio.timeout(2.0):
        await session.aclose()
    ends = await asyncio.gather(*waits, group, return_exceptions=True)
    assert {type(end) for end in ends} == {SessionClosedError}
    assert [end.task_id for end in ends[:20] if isinstance(end, SessionClosedError)] == [job.id for job in jobs]
    assert all(isinstance(end, SessionClosedError) and end.last is not None for end in ends[:20])


async def test_closing_generate_in_flight_reports_task_id(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, delay=0.1)
    session = open_session(slow)
    calls = [asyncio.create_task(session.generate("z-image", f"Kite {n}")) for n in range(10)]
    await wait_until(lambda: slow.request_log.in_flight == 10)
    await session.aclose()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ends} == {SessionClosedError}
    assert {end.task_id for end in ends if isinstance(end, SessionClosedError)} == set(slow.service_state.tasks)
    assert {
        end.idempotency_key for end in ends if isinstance(end, SessionClosedError)
    } == slow.request_log.idempotency_keys
    assert slow.request_log.purchases == 10


async def test_closing_lets_submit_finish(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, delay=0.05)
    session = open_session(slow, max_connections=5)
    calls = [asyncio.create_task(session.submit("z-image", f"Kite {n}")) for n in range(10)]
    await wait_until(lambda: slow.request_log.in_flight == 5)
    await session.aclose()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [Generation] * 5 + [SessionClosedError] * 5
    assert all(end.idempotency_key for end in ends if isinstance(end, SessionClosedError))
    assert slow.request_log.purchases == 5


async def test_closing_ends_backoff(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, drop=True, act=True)
    hooks = RecordingHooks()
    session = open_session(slow, retry=RetryPolicy(base=60.0, cap=60.0), hooks=[hooks])
    call = asyncio.create_task(session.submit("z-image", "A red kite", idempotency_key="order-1"))
    await wait_until(lambda: bool(hooks.retries))
    async with asyncio.timeout(1.0):
        await session.aclose()
        with pytest.raises(OutcomeUnknownError) as raised:
            await call
    assert raised.value.idempotency_key == "order-1"
    assert slow.request_log.attempts("order-1") == 1


async def test_concurrent_closes(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, delay=0.05)
    session = open_session(slow)
    call = asyncio.create_task(session.submit("z-image", "A red kite"))
    await wait_until(lambda: slow.request_log.in_flight == 1)
    await asyncio.gather(session.aclose(), session.aclose())
    assert (await call).status == "queued"


async def test_cancelled_close_aborts_requests(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, delay=0.3, act=True)
    session = open_session(slow)
    call = asyncio.create_task(session.submit("z-image", "A red kite"))
    await wait_until(lambda: slow.request_log.in_flight == 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await session.aclose()
    with pytest.raises(OutcomeUnknownError) as raised:
        await call
    assert raised.value.idempotency_key in slow.request_log.idempotency_keys
    await wait_until(lambda: slow.request_log.in_flight == 0)


async def test_error_in_block_closes(slow: Sandbox) -> None:
    waits = []

    async def fail_while_waiting() -> None:
        async with open_session(slow) as session:
            job = await session.submit("z-image", "A red kite")
            waits.append(asyncio.create_task(session.wait_for(job)))
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_while_waiting()
    with pytest.raises(SessionClosedError) as raised:
        await waits[0]
    assert raised.value.task_id in slow.service_state.tasks


async def test_closing_ends_map(slow: Sandbox) -> None:
    from rivya_async import GenerationRequest

    session = open_session(slow)
    outcomes = asyncio.create_task(
        consumed(session.map((GenerationRequest("z-image", f"Kite {n}") for n in range(20)), max_in_flight=5))
    )
    await wait_until(lambda: slow.request_log.purchases == 5)
    await session.aclose()
    ended = await outcomes
    assert len(ended) == 20
    closed = [outcome.error for outcome in ended if isinstance(outcome.error, SessionClosedError)]
    assert {error.task_id for error in closed if error.task_id} == set(slow.service_state.tasks)
    assert all(isinstance(outcome.error, RivyaError) for outcome in ended)


async def test_closing_aborts_download(slow: Sandbox, tmp_path: Any) -> None:
    from aiohttp import web

    started = asyncio.Event()

    async def dripping(_: Any) -> web.StreamResponse:
        started.set()
        await asyncio.sleep(0.3)
        return web.Response(body=b"x" * 100, content_type="image/png")

    async with plain_server(dripping) as server:
        session = open_session(slow)
        download = asyncio.create_task(session.download(f"{server.url}/a.png", f"{tmp_path}/out/"))
        await started.wait()
        async with asyncio.timeout(2.0):
            await session.aclose()
            end = (await asyncio.gather(download, return_exceptions=True))[0]
        assert isinstance(end, RivyaError | list), repr(end)
        if isinstance(end, RivyaError):
            assert list(tmp_path.rglob("*.part")) == []
        assert len(server.requests) == 1


async def test_close_inside_listener(sandbox: Sandbox) -> None:
    session = open_session(sandbox)

    async def close(_: Generation) -> None:
        await session.aclose()

    with pytest.raises(SessionClosedError) as raised:
        async with asyncio.timeout(2.0):
            await session.generate("z-image", "A red kite", on_update=close)
    assert raised.value.task_id in sandbox.service_state.tasks


# --- cancelling at every moment ---------------------------------------------------------------------------------------


async def quiet(sandbox: Sandbox) -> None:
    await wait_until(lambda: not sandbox.request_log.in_flight)


async def end_of(call: asyncio.Task[Any]) -> Any:
    """Returns the result or the exception of a task. Unlike gather, it returns the same exception object."""
    try:
        return await call
    except BaseException as error:  # noqa: BLE001 - cancelled or failed
        return error


@pytest.mark.parametrize("fault", [{}, {"drop": True, "act": True, "nth": 1}, {"status": 503, "nth": 1}], ids=str)
async def test_cancel_generate_after_any_step(fault: dict[str, Any]) -> None:
    moments = set()
    for steps in range(0, 120, 2):
        async with Sandbox(speed=FAST) as sandbox:
            if fault:
                sandbox.faults.add(route=SUBMIT, **fault)
            async with open_session(sandbox) as session:
                call = asyncio.create_task(session.generate("z-image", "A red kite"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                call.cancel()
                end = await end_of(call)
                notes = " ".join(getattr(end, "__notes__", []))
                moments.add(" ".join(notes.split()[:2]))
                # It goes on as if nothing had been.
                assert (await session.generate("z-image", "A blue whale")).succeeded
                await quiet(sandbox)
                first = [task for task in sandbox.service_state.tasks.values() if task.prompt == "A red kite"]
                assert len(first) <= 1
                if first:
                    keys = [key for key in sandbox.request_log.idempotency_keys if key in notes]
                    assert keys or first[0].id in notes or isinstance(end, Generation)
                assert sandbox._server is not None
                assert len(sandbox._server.connections) <= 2
            assert not duplicate_purchases(sandbox)
    if not fault:  # else a pause of real time decides how far the steps get
        assert any("during" in moment for moment in moments)
        assert any("while" in moment for moment in moments)


async def test_gather_with_one_failure(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, status=401, nth=3)
    async with open_session(slow) as session:
        calls = [asyncio.create_task(session.generate("z-image", f"Kite {n}")) for n in range(6)]
        with pytest.raises(RivyaError):
            await asyncio.gather(*calls)
        await wait_until(lambda: slow.request_log.purchases == 5)
        assert sum(not call.done() for call in calls) == 5
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_task_group_with_one_failure(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, status=401, nth=3)
    async with open_session(slow) as session:

        async def all_or_none() -> None:
            async with asyncio.TaskGroup() as group:
                for n in range(6):
                    group.create_task(session.generate("z-image", f"Kite {n}"))

        with pytest.raises(ExceptionGroup) as raised:
            await all_or_none()
        assert len(raised.value.exceptions) == 1
        assert (await session.credits.retrieve()).current_credits == 1_000_000 - slow.request_log.purchases


async def test_cancel_one_of_several_waiters() -> None:
    async with Sandbox(speed=50.0) as sandbox, open_session(sandbox) as session:
        job = await session.submit("z-image", "A red kite")
        waits = [asyncio.create_task(session.wait_for(job)) for _ in range(10)]
        await wait_until(lambda: sandbox.request_log.count(POLL) > 0)
        for wait in waits[:9]:
            wait.cancel()
            await asyncio.sleep(0)
        ends = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 9 + [Generation]


async def test_waiters_share_polls() -> None:
    async with Sandbox(speed=50.0) as sandbox, open_session(sandbox, poll=QUICK_POLL) as session:
        job = await session.submit("z-image", "A red kite")
        ends = await asyncio.gather(*(session.wait_for(job) for _ in range(10)))
        many = sandbox.request_log.count(POLL)
        assert {end.id for end in ends} == {job.id}
        assert sandbox.request_log.peak_in_flight == 1
        assert many < 200


async def test_terminal_record_needs_no_request(sandbox: Sandbox, session: RivyaSession) -> None:
    job = await session.generate("z-image", "A red kite")
    polls = sandbox.request_log.count(POLL)
    assert await session.wait_for(job) is job
    assert [snapshot async for snapshot in session.watch(job)] == [job]
    assert sandbox.request_log.count(POLL) == polls
    assert sandbox.request_log.count(FILE) == 0


def test_detects_fork_by_pid() -> None:
    assert RivyaSession(KEY)._pid == os.getpid()


@pytest.mark.parametrize("fault", [{}, {"drop": True, "act": True, "nth": 1}, {"status": 503, "nth": 1}], ids=str)
async def test_close_after_any_step(fault: dict[str, Any]) -> None:
    ends = set()
    for steps in range(0, 100, 2):
        async with Sandbox(speed=FAST) as sandbox:
            if fault:
                sandbox.faults.add(route=SUBMIT, **fault)
            session = open_session(sandbox)
            await session.__aenter__()
            call = asyncio.create_task(session.generate("z-image", "A red kite", idempotency_key="order-1"))
            for _ in range(steps):
                await asyncio.sleep(0)
            await session.aclose()
            end = await end_of(call)
            ends.add(type(end))
            assert isinstance(end, Generation | RivyaError), repr(end)
            if isinstance(end, RivyaError):
                assert end.idempotency_key == "order-1"
            if sandbox.request_log.purchases:  # then the task id is known, or no error says that nothing was bought
                assert isinstance(end, Generation | SessionClosedError | OutcomeUnknownError), repr(end)
            assert sandbox.request_log.purchases <= 1
            assert session._engine is not None
            assert len(session._engine._timers) == 0
    if not fault:  # with one, the pause before the second attempt is longer than any number of steps
        assert SessionClosedError in ends
