"""The fault matrix, its rows of time, concurrency and cancellation: who is cut, who is not, and what is left behind.

Each case of the three rows has its proof in the table at the end: some are here, the others beside what they test.
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
    bought_twice,
    open_sockets,
    opened,
    script,
    settled,
    until,
)

ORDER: Final = "order-1"
LONG_PAUSE: Final = RetryPolicy(base=60.0, cap=60.0, max_elapsed=1e6)


@pytest.fixture
async def slow() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=SLOW) as running:
        yield running


# --- cancellation: one moment a row -----------------------------------------------------------------------------------


@attrs.frozen
class Moment:
    """When a purchase is cancelled: what holds it there, how it is known, how many requests and jobs there are then."""

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
async def test_a_purchase_is_cancelled(slow: Sandbox, moment: Moment, how: str) -> None:
    sockets = open_sockets()
    async with opened(slow, retry=moment.retry) as session:
        if moment.fault:
            slow.faults.add(route=SUBMIT, **moment.fault)
        tasks = asyncio.all_tasks()
        call = asyncio.create_task(session.generate("z-image", "A red kite", idempotency_key=ORDER, timeout=None))
        await until(lambda: moment.comes(slow))
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
        await until(lambda: not slow.request_log.in_flight)
        assert slow.request_log.purchases == moment.bought
        await settled(slow)
        polls = slow.request_log.count(POLL)
        assert {task for task in asyncio.all_tasks() - tasks if "rivya_async/_engine" in repr(task)} == set()
        slow.faults.clear()
        again = await session.submit("z-image", "A red kite", idempotency_key=ORDER)  # the very same purchase
        assert slow.request_log.purchases == 1
        assert slow.request_log.idempotency_keys == {ORDER}
        await settled(slow)
        assert slow.request_log.count(POLL) == polls  # nobody waits, nobody polls
        assert again.id in slow.service_state.tasks
    await until(lambda: open_sockets() <= sockets + 1, seconds=2.0)  # the sandbox still listens
    assert not bought_twice(slow)


async def test_a_purchase_is_cancelled_while_it_waits_for_a_place(slow: Sandbox) -> None:
    slow.faults.add(route=SUBMIT, delay=0.1, act=True, times=1)
    async with opened(slow, max_connections=1) as session:
        first = asyncio.create_task(session.submit("z-image", "A red kite"))
        await until(lambda: slow.request_log.in_flight == 1)
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
async def test_a_download_is_cancelled(sandbox: Sandbox, session: RivyaSession, tmp_path: Path, how: str) -> None:
    job = await session.generate("z-image", "A red kite")
    sandbox.faults.add(route=FILE, delay=0.3, times=1)
    download = asyncio.create_task(session.download(job, tmp_path))
    await until(lambda: sandbox.request_log.in_flight == 1)
    if how == "cancel":
        download.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
        await asyncio.wait_for(download, 0.01)
    assert list(tmp_path.iterdir()) == []
    assert sandbox.request_log.count(FILE) == 1
    (saved,) = await session.download(job, tmp_path)
    assert saved.stat().st_size > 0
    assert sandbox.request_log.purchases == 1


async def test_an_upload_is_cancelled(slow: Sandbox, tmp_path: Path) -> None:
    kite = tmp_path / "kite.png"
    kite.write_bytes(media("png"))
    async with opened(slow) as session:
        slow.faults.add(route=UPLOAD, delay=0.3, times=1)
        upload = asyncio.create_task(session.submit("qwen-image", "A kite", references=[kite], idempotency_key=ORDER))
        await until(lambda: slow.request_log.in_flight == 1)
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
async def test_a_timeout_of_asyncio_ends_every_verb(slow: Sandbox, tmp_path: Path, verb: Verb) -> None:
    async with opened(slow) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(delay=0.3, status=503)
        current = asyncio.current_task()
        assert current is not None
        began = time.monotonic()
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.05):
                await verb(session, job, tmp_path / "out")
        assert type(raised.value) is TimeoutError  # the block's own, not one of ours
        assert time.monotonic() - began < 1.0
        assert current.cancelling() == 0
        slow.faults.clear()
        sent = slow.request_log.count()
        assert (await session.credits.retrieve()).current_credits  # the session goes on
        assert slow.request_log.count() == sent + 1
        assert list(tmp_path.rglob("*.*")) == []
    assert not bought_twice(slow)


# --- the loop -----------------------------------------------------------------------------------------------------


async def test_a_loop_that_stalls_for_longer_than_a_time_out(sandbox: Sandbox) -> None:
    """Blocked code of the user's is no fault of the service: an answer that came meanwhile is read."""
    async with opened(sandbox, timeouts=Timeouts(connect=0.1, read=0.1, total=0.1)) as session:
        calls = [asyncio.create_task(session.generate("z-image", f"Kite {n}")) for n in range(5)]
        for _ in range(3):
            await asyncio.sleep(0.005)
            time.sleep(0.15)  # noqa: ASYNC251 - that is the fault
        assert all(job.succeeded for job in await asyncio.gather(*calls))
    assert sandbox.request_log.purchases == 5
    assert not bought_twice(sandbox)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no eager tasks")
async def test_eager_tasks(sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    async with opened(sandbox, max_connections=5) as session:
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(50)))
        outcomes = [each async for each in session.map(GenerationRequest("z-image", f"{n}") for n in range(50))]
        ended = [each.id async for each in session.as_completed(job.id for job in jobs)]
    assert all(job.succeeded for job in jobs)
    assert all(outcome.ok for outcome in outcomes)
    assert len(ended) == 50
    assert sandbox.request_log.purchases == 100
    assert not bought_twice(sandbox)


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
async def test_a_keyboard_interrupt(slow: Sandbox, run: str, moment: str) -> None:
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
            await until(lambda: slow.request_log.count(POLL) > 0)
        else:
            await until(lambda: slow.request_log.in_flight == 1)
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
    await until(lambda: not slow.request_log.in_flight)
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
async def test_the_end_of_the_interpreter_on_uvloop(sandbox: Sandbox, end: str) -> None:
    pytest.importorskip("uvloop")
    plain = await script(NEVER_CLOSED + end, sandbox.api_key, sandbox.base_url, dev=False, strict=False)
    assert plain == (0, "", "")
    code, out, said = await script(NEVER_CLOSED + end, sandbox.api_key, sandbox.base_url, strict=False)
    assert (code, out) == (0, "")
    assert said.count("never closed") == 1
    for word in ("Unclosed", "Event loop is closed", "Traceback", sandbox.api_key):
        assert word not in said
    assert sandbox.request_log.purchases == 2


# --- the table --------------------------------------------------------------------------------------------------------

HERE: Final = "session/test_fault_matrix_tasks.py"
TIME: Final = "engine/test_clocks_and_deadlines.py"
LIFE: Final = "session/test_lifecycle.py"
CLOSING: Final = "session/test_closing.py"

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
            "session/test_wait.py::test_a_deadline_comes_in_the_middle_of_a_poll",
        ),
        "deadline between the two": (
            f"{TIME}::test_deadline_between_attempts_raises_the_last_error",
            f"{TIME}::test_a_deadline_between_the_purchase_and_the_first_poll",
        ),
        "zero time-out": (
            f"{TIME}::test_no_time_at_all_sends_nothing",
            "session/test_edges.py::test_no_time_is_no_purchase",
            "session/test_wait.py::test_no_time_at_all",
        ),
        "negative and NaN time-outs": (f"{TIME}::test_invalid_timeout_sends_nothing",),
        "a loop stalled for seconds": (
            f"{TIME}::test_stalled_loop_causes_no_burst",
            f"{TIME}::test_deadline_in_a_stalled_loop_ends_the_wait",
            f"{HERE}::test_a_loop_that_stalls_for_longer_than_a_time_out",
        ),
        "asyncio.timeout around every verb": (
            f"{HERE}::test_a_timeout_of_asyncio_ends_every_verb",
            f"{HERE}::test_a_download_is_cancelled",
        ),
    },
    "Concurrency": {
        "ten waiters of one task": (f"{LIFE}::test_ten_waiters_share_one_stream_of_polls",),
        "one waiter cancelled while others wait": (f"{LIFE}::test_one_waiter_cancelled_while_others_wait",),
        "gather with one failure": (f"{LIFE}::test_one_failure_of_a_gather_leaves_the_others_alone",),
        "task group with one failure": (f"{LIFE}::test_one_failure_of_a_task_group_cancels_the_others",),
        "10,000 tasks": ("session/test_scale.py::test_gather_over_ten_thousand_jobs",),
        "close while waiting": (
            f"{LIFE}::test_waits_are_released_with_their_task_ids",
            f"{LIFE}::test_closing_after_any_number_of_steps",
            f"{CLOSING}::test_closing_ends_the_pause_of_a_download",
        ),
        "close while closing": (
            f"{CLOSING}::test_whoever_closes_while_it_is_being_closed_waits_for_the_end_of_it",
            f"{CLOSING}::test_a_second_close_that_is_cancelled_cuts_nothing",
        ),
        "close cancelled": (
            f"{CLOSING}::test_a_close_that_is_cancelled_cuts_all_that_is_on_its_way",
            f"{LIFE}::test_cancelling_the_close_cuts_what_is_on_its_way",
        ),
        "second event loop": (
            f"{LIFE}::test_a_second_loop_is_told_clearly",
            f"{LIFE}::test_closing_on_another_loop_while_the_first_one_runs_is_refused",
            f"{CLOSING}::test_an_http_of_another_loop_is_told_clearly",
        ),
        "fork": (f"{LIFE}::test_after_a_fork_the_child_is_refused_and_the_parent_goes_on",),
        "interpreter exit": (
            f"{LIFE}::test_the_end_of_the_interpreter",
            f"{HERE}::test_the_end_of_the_interpreter_on_uvloop",
        ),
        "keyboard interrupt": (f"{HERE}::test_a_keyboard_interrupt",),
        "session dropped without closing": (f"{LIFE}::test_a_session_that_was_never_closed_is_told_once_in_our_words",),
        "generator dropped without closing": (
            "engine/test_as_completed.py::test_abandoned_loop_ends_its_waits",
            "engine/test_bounded_map.py::test_abandoned_loop_cancels_work",
        ),
        "eager tasks": (f"{HERE}::test_eager_tasks", "engine/test_single_flight.py::test_immediate_result_needs_no_wait"),
    },
    "Cancellation": {
        "before the POST is written": (
            f"{HERE}::test_a_purchase_is_cancelled",
            f"{HERE}::test_a_purchase_is_cancelled_while_it_waits_for_a_place",
        ),
        "in flight": (f"{HERE}::test_a_purchase_is_cancelled",),
        "after the id is known": (f"{HERE}::test_a_purchase_is_cancelled",),
        "in back-off": (f"{HERE}::test_a_purchase_is_cancelled",),
        "in a download": (
            f"{HERE}::test_a_download_is_cancelled",
            "session/test_download.py::test_cancelling_in_mid_transfer",
        ),
        "in an upload": (
            f"{HERE}::test_an_upload_is_cancelled",
            "session/test_fault_matrix_uploads.py::test_cancelled_at_any_time_an_upload_leaves_nothing_open",
        ),
        "after any number of steps": (f"{LIFE}::test_cancelling_a_generate_after_any_number_of_steps",),
    },
}
"""Every case of the three rows, and the tests that prove it."""


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(proof, id=f"{row}: {case}: {number}")
        for row, cases in PROOFS.items()
        for case, proofs in cases.items()
        for number, proof in enumerate(proofs, 1)
    ],
)
def test_every_case_has_its_proof(proof: str) -> None:
    assert is_defined_test(proof)


def test_the_moments_of_a_purchase_are_cases_of_the_table() -> None:
    assert {name.partition(",")[0] for name in PURCHASES} <= set(PROOFS["Cancellation"])
