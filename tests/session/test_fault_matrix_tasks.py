"""The fault matrix, time, concurrency and cancellation.

The table at the end names the tests of each case.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from rivya_async import GenerationRequest, RetryPolicy, RivyaSession, Timeouts
from rivya_async.sandbox import Sandbox
from tests.fault_matrix import is_defined_test
from tests.media_kit import media
from tests.session.session_kit import (
    FILE,
    POLL,
    SLOW,
    SUBMIT,
    UPLOAD,
    duplicate_purchases,
    open_session,
    open_sockets,
    run_script,
    wait_until,
    wait_until_idle,
)

pytestmark = pytest.mark.usefixtures("each_transport")

ORDER: Final = "order-1"
LONG_PAUSE: Final = RetryPolicy(base=60.0, cap=60.0, max_elapsed=1e6)


@pytest.fixture
async def slow() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=SLOW) as running:
        yield running


# --- cancellation: one moment a row -----------------------------------------------------------------------------------


@attrs.frozen
class Moment:
    """A moment at which a purchase is cancelled: the fault that holds it, its condition, its requests and jobs."""

    fault: dict[str, Any]
    comes: Callable[[Sandbox], bool]
    sent: int
    bought: int
    note: str
    retry: RetryPolicy = LONG_PAUSE


PURCHASES: Final = {
    "before the POST is written": Moment({}, lambda sandbox: True, 0, 0, ORDER),
    "in flight": Moment({"delay": 0.2}, lambda sandbox: sandbox.request_log.in_flight == 1, 1, 0, ORDER),
    "in flight, and it has acted": Moment(
        {"delay": 0.2, "act": True}, lambda sandbox: sandbox.request_log.in_flight == 1, 1, 1, ORDER
    ),
    "after the id is known": Moment({}, lambda sandbox: sandbox.request_log.count(POLL) > 1, 1, 1, "it is bought"),
    "in back-off": Moment({"status": 503}, lambda sandbox: sandbox.request_log.count(SUBMIT) == 1, 1, 0, ORDER),
    "in back-off, after it has acted": Moment(
        {"drop": True, "act": True}, lambda sandbox: sandbox.request_log.count(SUBMIT) == 1, 1, 1, ORDER
    ),
}


@pytest.mark.parametrize("how", ["cancel", "timeout"])
@pytest.mark.parametrize("moment", PURCHASES.values(), ids=PURCHASES.keys())
async def test_cancel_purchase(slow: Sandbox, moment: Moment, how: str) -> None:
    sockets = open_sockets()
    async with open_session(slow, retry=moment.retry) as session:
        if moment.fault:
            slow.faults.add(route=SUBMIT, **moment.fault)
        tasks = asyncio.all_tasks()
        call = asyncio.create_task(session.generate("z-image", "A red kite", idempotency_key=ORDER, timeout=None))
        await wait_until(lambda: moment.comes(slow))
        if moment.sent:
            await asyncio.sleep(0.02)  # what came back has been read
        if how == "cancel":
            call.cancel()
            with pytest.raises(asyncio.CancelledError) as raised:
                await call
            assert moment.note in " ".join(getattr(raised.value, "__notes__", [])) or not moment.sent
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.0)
        assert slow.request_log.attempts(ORDER) == moment.sent
        await wait_until(lambda: not slow.request_log.in_flight)
        assert slow.request_log.purchases == moment.bought
        await wait_until_idle(slow)
        polls = slow.request_log.count(POLL)
        assert {task for task in asyncio.all_tasks() - tasks if "rivya_async/_engine" in repr(task)} == set()
        slow.faults.clear()
        again = await session.submit("z-image", "A red kite", idempotency_key=ORDER)  # the very same purchase
        assert slow.request_log.purchases == 1
        assert slow.request_log.idempotency_keys == {ORDER}
        await wait_until_idle(slow)
        assert slow.request_log.count(POLL) == polls  # no wait, no poll
        assert again.id in slow.service_state.tasks
    await wait_until(lambda: open_sockets() <= sockets + 1, seconds=2.0)  # the sandbox still listens
    assert not duplicate_purchases(slow)


async def test_cancel_queued_purchase(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, delay=0.1, act=True, times=1)
    async with open_session(slow, max_connections=1) as session:
        first = asyncio.create_task(session.submit("z-image", "A red kite"))
        await wait_until(lambda: slow.request_log.in_flight == 1)
        second = asyncio.create_task(session.submit("z-image", "A blue whale", idempotency_key=ORDER))
        await asyncio.sleep(0)
        second.cancel()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        await session.submit("z-image", "A grey seal")  # its place was given back
    assert slow.request_log.attempts(ORDER) == 0
    assert slow.request_log.purchases == 2


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_cancel_download(sandbox: Sandbox, session: RivyaSession, tmp_path: Path, how: str) -> None:
    job = await session.generate("z-image", "A red kite")
    sandbox.faults.add(route=FILE, delay=0.3, times=1)
    download = asyncio.create_task(session.download(job, tmp_path))
    await wait_until(lambda: sandbox.request_log.in_flight == 1)
    if how == "cancel":
        download.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
        await asyncio.wait_for(download, 0.01)
    assert list(tmp_path.iterdir()) == []
    assert sandbox.request_log.count(FILE) == 1
    (saved,) = await session.download(job, tmp_path)
    assert saved.stat().st_size > 0
    assert sandbox.request_log.purchases == 1


async def test_cancel_upload(slow: Sandbox, tmp_path: Path) -> None:
    kite = tmp_path / "kite.png"
    kite.write_bytes(media("png"))
    async with open_session(slow) as session:
        slow.faults.add(route=UPLOAD, delay=0.3, times=1)
        upload = asyncio.create_task(session.submit("qwen-image", "A kite", references=[kite], idempotency_key=ORDER))
        await wait_until(lambda: slow.request_log.in_flight == 1)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert (slow.request_log.count(UPLOAD), slow.request_log.attempts(ORDER), slow.request_log.purchases) == (
            1,
            0,
            0,
        )
        await session.submit("qwen-image", "A kite", references=[kite], idempotency_key=ORDER)
    assert (slow.request_log.count(UPLOAD), slow.request_log.purchases) == (2, 1)


# --- asyncio.timeout around every verb --------------------------------------------------------------------------------


async def consumed(generator: Any) -> None:
    async with aclosing(generator):
        async for _ in generator:
            pass


async def streamed(session: RivyaSession) -> None:
    async with session.chat.completions.stream("gpt-5-2-chat", "Hello") as stream:
        async for _ in stream:
            pass


Verb = Callable[[RivyaSession, Any, Path], Awaitable[Any]]

VERBS: Final[dict[str, Verb]] = {
    "submit": lambda session, job, to: session.submit("z-image", "A blue whale"),
    "submit with check": lambda session, job, to: session.submit("z-image", "A blue whale", check=True),
    "generate": lambda session, job, to: session.generate("z-image", "A blue whale"),
    "wait_for": lambda session, job, to: session.wait_for(job),
    "wait_for with a listener": lambda session, job, to: session.wait_for(job, on_update=lambda _: None),
    "watch": lambda session, job, to: consumed(session.watch(job)),
    "as_completed": lambda session, job, to: consumed(session.as_completed([job])),
    "map": lambda session, job, to: consumed(session.map([GenerationRequest("z-image", "A blue whale")])),
    "retrieve": lambda session, job, to: session.generations.retrieve(job.id),
    "models": lambda session, job, to: session.models.list(),
    "credits": lambda session, job, to: session.credits.retrieve(),
    "openapi": lambda session, job, to: session.openapi.retrieve(),
    "upload": lambda session, job, to: session.files.upload(media("png"), filename="a.png"),
    "chat": lambda session, job, to: session.chat.completions.create("gpt-5-2-chat", "Hello"),
    "chat stream": lambda session, job, to: streamed(session),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
async def test_asyncio_timeout_ends_every_call(slow: Sandbox, tmp_path: Path, verb: Verb) -> None:
    async with open_session(slow) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(delay=0.3, status=503)
        current = asyncio.current_task()
        assert current is not None
        began = time.monotonic()
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.05):
                await verb(session, job, tmp_path / "out")
        assert type(raised.value) is TimeoutError  # raised by `asyncio.timeout` itself
        assert time.monotonic() - began < 1.0
        assert current.cancelling() == 0
        slow.faults.clear()
        sent = slow.request_log.count()
        assert (await session.credits.retrieve()).current_credits  # the session goes on
        assert slow.request_log.count() == sent + 1
        assert list(tmp_path.rglob("*.*")) == []
    assert not duplicate_purchases(slow)


# --- the loop -----------------------------------------------------------------------------------------------------


async def test_stalled_loop_does_not_time_out(sandbox: Sandbox) -> None:
    """An answer that arrives while user code blocks the loop is read, not timed out."""
    async with open_session(sandbox, timeouts=Timeouts(connect=0.1, read=0.1, total=0.1)) as session:
        calls = [asyncio.create_task(session.generate("z-image", f"Kite {n}")) for n in range(5)]
        for _ in range(3):
            await asyncio.sleep(0.005)
            time.sleep(0.15)  # noqa: ASYNC251 - that is the fault
        assert all(job.succeeded for job in await asyncio.gather(*calls))
    assert sandbox.request_log.purchases == 5
    assert not duplicate_purchases(sandbox)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no eager tasks")
async def test_eager_tasks(sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    async with open_session(sandbox, max_connections=5) as session:
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(50)))
        outcomes = [each async for each in session.map(GenerationRequest("z-image", f"{n}") for n in range(50))]
        ended = [each.id async for each in session.as_completed(job.id for job in jobs)]
    assert all(job.succeeded for job in jobs)
    assert all(outcome.ok for outcome in outcomes)
    assert len(ended) == 50
    assert sandbox.request_log.purchases == 100
    assert not duplicate_purchases(sandbox)


STOPPED: Final = """
import asyncio, sys
from rivya_async import PollPolicy, RivyaSession

async def main():
    async with RivyaSession(sys.argv[1], base_url=sys.argv[2], poll=PollPolicy(first=0.01, floor=0.01)) as session:
        await session.generate("z-image", "A red kite", idempotency_key="order-1")

RUN(main())
"""
RUNS: Final = {"asyncio": "asyncio.run", "uvloop": "__import__('uvloop').run"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
@pytest.mark.parametrize("moment", ["while the purchase is on its way", "while it waits"])
@pytest.mark.parametrize("run", RUNS)
async def test_keyboard_interrupt(slow: Sandbox, run: str, moment: str) -> None:
    if run == "uvloop":
        pytest.importorskip("uvloop")
    if moment != "while it waits":
        slow.faults.add(route=SUBMIT, delay=0.3, act=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-X",
        "dev",
        "-c",
        STOPPED.replace("RUN", RUNS[run]),
        slow.api_key,
        slow.base_url,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONASYNCIODEBUG": "0"},
    )
    try:
        if moment == "while it waits":
            await wait_until(lambda: slow.request_log.count(POLL) > 0)
        else:
            await wait_until(lambda: slow.request_log.in_flight == 1)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            said = (await process.communicate())[1].decode()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode in {-signal.SIGINT, 130}
    assert said.rstrip().splitlines()[-1].startswith("KeyboardInterrupt")
    for word in ("Event loop is closed", "Unclosed", "never closed", "never retrieved", "was destroyed", slow.api_key):
        assert word not in said
    await wait_until(lambda: not slow.request_log.in_flight)
    assert slow.request_log.purchases == 1
    assert slow.request_log.attempts(ORDER) == 1
    (task_id,) = slow.service_state.tasks
    assert (task_id if moment == "while it waits" else ORDER) in said  # by which it is found again


NEVER_CLOSED: Final = """
import sys, uvloop
from rivya_async import RivyaSession

async def main():
    global session
    session = RivyaSession(sys.argv[1], base_url=sys.argv[2])
    await session.submit("z-image", "A red kite")

uvloop.run(main())
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del session"])
async def test_interpreter_exit_on_uvloop(sandbox: Sandbox, end: str) -> None:
    pytest.importorskip("uvloop")
    code, out, said = await run_script(NEVER_CLOSED + end, sandbox.api_key, sandbox.base_url, dev=False, strict=False)
    assert (code, out) == (0, "")
    assert "1 open job: task_" in said
    assert len(said.splitlines()) == 1
    code, out, said = await run_script(NEVER_CLOSED + end, sandbox.api_key, sandbox.base_url, strict=False)
    assert (code, out) == (0, "")
    assert said.count("never closed") == 1
    for word in ("Unclosed", "Event loop is closed", "Traceback", sandbox.api_key):
        assert word not in said
    assert sandbox.request_log.purchases == 2


# --- the table --------------------------------------------------------------------------------------------------------

HERE: Final = "session/test_fault_matrix_tasks.py"
TIME: Final = "engine/test_clocks_and_deadlines.py"
LIFE: Final = "session/test_lifecycle.py"
CLOSING: Final = "session/test_concurrent_close.py"

PROOFS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "Time": {
        "wall clock stepping back and forward": (
            f"{TIME}::test_durations_ignore_wall_time",
            f"{TIME}::test_deadlines_ignore_wall_time",
        ),
        "deadline inside a sleep": (f"{TIME}::test_deadline_during_a_sleep",),
        "deadline inside a request": (
            f"{TIME}::test_deadline_during_a_poll",
            f"{TIME}::test_deadline_does_not_cancel_a_purchase",
            "session/test_wait.py::test_deadline_inside_poll",
        ),
        "deadline between the two": (
            f"{TIME}::test_deadline_between_attempts_raises_the_last_error",
            f"{TIME}::test_deadline_between_purchase_and_first_poll",
        ),
        "zero time-out": (
            f"{TIME}::test_timeout_of_zero_sends_nothing",
            "session/test_regressions.py::test_zero_timeout_buys_nothing",
            "session/test_wait.py::test_zero_timeout",
        ),
        "negative and NaN time-outs": (f"{TIME}::test_invalid_timeout_sends_nothing",),
        "a loop stalled for seconds": (
            f"{TIME}::test_stalled_loop_causes_no_burst",
            f"{TIME}::test_deadline_in_a_stalled_loop_ends_the_wait",
            f"{HERE}::test_stalled_loop_does_not_time_out",
        ),
        "asyncio.timeout around every verb": (
            f"{HERE}::test_asyncio_timeout_ends_every_call",
            f"{HERE}::test_cancel_download",
        ),
    },
    "Concurrency": {
        "ten waiters of one task": (f"{LIFE}::test_waiters_share_polls",),
        "one waiter cancelled while others wait": (f"{LIFE}::test_cancel_one_of_several_waiters",),
        "gather with one failure": (f"{LIFE}::test_gather_with_one_failure",),
        "task group with one failure": (f"{LIFE}::test_task_group_with_one_failure",),
        "10,000 tasks": ("session/test_scale.py::test_gather_ten_thousand_jobs",),
        "close while waiting": (
            f"{LIFE}::test_closing_ends_waits_with_task_ids",
            f"{LIFE}::test_close_after_any_step",
            f"{CLOSING}::test_closing_ends_backoff_of_download",
        ),
        "close while closing": (
            f"{CLOSING}::test_concurrent_close_waits",
            f"{CLOSING}::test_cancelled_second_close_aborts_nothing",
        ),
        "close cancelled": (
            f"{CLOSING}::test_cancelled_close_aborts_everything",
            f"{LIFE}::test_cancelled_close_aborts_requests",
        ),
        "second event loop": (
            f"{LIFE}::test_rejects_second_loop",
            f"{LIFE}::test_rejects_close_while_other_loop_runs",
            f"{CLOSING}::test_rejects_http_of_another_loop",
        ),
        "fork": (f"{LIFE}::test_fork_rejects_child_and_keeps_parent",),
        "interpreter exit": (
            f"{LIFE}::test_interpreter_exit",
            f"{HERE}::test_interpreter_exit_on_uvloop",
        ),
        "keyboard interrupt": (f"{HERE}::test_keyboard_interrupt",),
        "session dropped without closing": (f"{LIFE}::test_unclosed_session_warns_once",),
        "generator dropped without closing": (
            "engine/test_as_completed.py::test_abandoned_loop_ends_its_waits",
            "engine/test_bounded_map.py::test_abandoned_loop_cancels_work",
        ),
        "eager tasks": (
            f"{HERE}::test_eager_tasks",
            "engine/test_single_flight.py::test_immediate_result_needs_no_wait",
        ),
    },
    "Cancellation": {
        "before the POST is written": (
            f"{HERE}::test_cancel_purchase",
            f"{HERE}::test_cancel_queued_purchase",
        ),
        "in flight": (f"{HERE}::test_cancel_purchase",),
        "after the id is known": (f"{HERE}::test_cancel_purchase",),
        "in back-off": (f"{HERE}::test_cancel_purchase",),
        "in a download": (
            f"{HERE}::test_cancel_download",
            "session/test_download.py::test_cancellation_in_mid_transfer",
        ),
        "in an upload": (
            f"{HERE}::test_cancel_upload",
            "session/test_fault_matrix_uploads.py::test_cancelled_upload_leaves_nothing_open",
        ),
        "after any number of steps": (f"{LIFE}::test_cancel_generate_after_any_step",),
    },
}
"""Every case of the three rows with its tests."""


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(proof, id=f"{row}: {case}: {number}")
        for row, cases in PROOFS.items()
        for case, proofs in cases.items()
        for number, proof in enumerate(proofs, 1)
    ],
)
def test_every_case_names_defined_tests(proof: str) -> None:
    assert is_defined_test(proof)


def test_purchase_moments_are_in_the_table() -> None:
    assert {name.partition(",")[0] for name in PURCHASES} <= set(PROOFS["Cancellation"])
