"""Waits for one job: shared polls, transient errors, deadlines, updates and closing."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core import assumptions
from rivya_async._core.config import Config
from rivya_async._core.errors import (
    AuthenticationError,
    ConfigurationError,
    GenerationFailedError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RequestNotSentError,
    RivyaError,
    SessionClosedError,
    WaitTimeoutError,
)
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.http.messages import Request, Response
from rivya_async._core.policies import PollPolicy, RetryPolicy
from rivya_async._core.types.generations import Generation
from rivya_async._engine.polling.wait_deadline import FINAL_POLL_LEAD
from rivya_async._engine.polling.wait_registry import MAX_SUBMITTED_JOBS
from tests.engine.engine_kit import (
    JOB,
    TRANSIENT,
    Reply,
    ScriptedTransport,
    Service,
    cancel,
    create_engine,
    create_generations,
    error_from,
    error_response,
    job_response,
    no_response,
    ok,
    record,
    scripted_transport,
    sleep_until,
)
from tests.engine.virtual_time import now, run, running_loop, settle

EVERY_SECOND = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None)
OPEN = job_response("task_1", "processing")
DONE = job_response("task_1", "succeeded")
GARBAGE = Response(200, {}, b"<html>")


def waiting(
    transport: ScriptedTransport, *, poll: PollPolicy = EVERY_SECOND, **options: Any
) -> asyncio.Task[Generation]:
    """A wait for a job that somebody else bought, on an engine of its own."""
    return asyncio.create_task(create_generations(create_engine(transport), poll).wait_for("task_1", **options))


# --- one stream of polls ----------------------------------------------------------------------------------------------


async def test_waiters_of_one_job_share_polls() -> None:
    service = Service(duration=10)
    generations = create_generations(create_engine(service.transport), EVERY_SECOND)
    task_id = service.sell()
    ended = await asyncio.gather(*(generations.wait_for(task_id) for _ in range(10)))
    assert [generation.status for generation in ended] == ["succeeded"] * 10
    assert service.transport.times == pytest.approx([1.1 * n for n in range(10)])
    assert service.transport.peak == 1


async def test_later_waiters_share_polls() -> None:
    service = Service(duration=10, latency=0)
    generations = create_generations(create_engine(service.transport), EVERY_SECOND)
    task_id = service.sell()
    waits = []
    for _ in range(5):
        waits.append(asyncio.create_task(generations.wait_for(task_id)))
        await asyncio.sleep(1.5)
    await asyncio.gather(*waits)
    assert service.transport.times == pytest.approx(range(11))


async def test_cancelled_waiter_does_not_affect_others() -> None:
    service = Service(duration=10)
    generations = create_generations(create_engine(service.transport), EVERY_SECOND)
    task_id = service.sell()
    waits = [asyncio.create_task(generations.wait_for(task_id)) for _ in range(3)]
    await sleep_until(5.05)  # a poll is in flight
    await cancel(waits[0], waits[2])
    assert (await waits[1]).succeeded
    assert service.transport.cancelled == 0


async def test_failure_in_gather_leaves_no_waits() -> None:
    service = Service(duration=10)
    engine = create_engine(service.transport)
    generations = create_generations(engine, EVERY_SECOND)
    waits = [generations.wait_for(task_id) for task_id in (service.sell(), "task_unknown", service.sell())]
    assert isinstance(await error_from(asyncio.gather(*waits)), NotFoundError)
    ended = await asyncio.gather(*(generations.wait_for(task_id) for task_id in service.ends_at))
    assert len(ended) == 2
    assert engine.wait_registry._active == {}
    await engine.aclose()


@pytest.mark.parametrize("at", [0.0, 0.05, 0.5, 1.05])
async def test_last_cancelled_waiter_stops_polls(at: float) -> None:
    service = Service(duration=10)
    engine = create_engine(service.transport)
    wait = asyncio.create_task(create_generations(engine, EVERY_SECOND).wait_for(service.sell()))
    await sleep_until(at)
    await settle()
    sent, in_flight = len(service.transport.received), service.transport.in_flight
    await cancel(wait)
    assert service.transport.in_flight == 0
    assert service.transport.cancelled == in_flight
    assert engine.wait_registry._active == {}
    assert engine.wait_registry._poller.workers == set()
    await asyncio.sleep(100)
    assert len(service.transport.received) == sent
    await engine.aclose()
    assert running_loop().timers == 0


@pytest.mark.parametrize("turns", range(12))
async def test_waiter_can_be_cancelled_at_any_time(turns: int) -> None:
    engine = create_engine(scripted_transport(OPEN, DONE, latency=0.5))
    generations = create_generations(engine, EVERY_SECOND)
    doomed = asyncio.create_task(generations.wait_for("task_1"))
    await settle(turns)
    doomed.cancel()
    assert (await generations.wait_for("task_1")).succeeded
    await engine.aclose()
    assert running_loop().timers == 0


async def test_new_wait_polls_again() -> None:
    transport = scripted_transport(OPEN, DONE, latency=0.5)
    generations = create_generations(create_engine(transport), EVERY_SECOND)
    for _ in range(2):
        wait = asyncio.create_task(generations.wait_for("task_1"))
        await asyncio.sleep(0.1)
        await cancel(wait)
    assert (await generations.wait_for("task_1")).succeeded
    assert transport.cancelled == 1  # a poll that was cut is not repeated before the floor has passed


async def test_cancelled_poll_can_clean_up() -> None:
    cleaned: list[float] = []

    async def answer(request: Request) -> Reply:
        try:
            return await no_response(request)
        finally:
            await asyncio.sleep(1)
            cleaned.append(now())

    engine = create_engine(ScriptedTransport(answer))
    wait = asyncio.create_task(create_generations(engine).wait_for("task_1"))
    await settle()
    await engine.aclose()
    assert isinstance(await error_from(wait), SessionClosedError)
    assert cleaned == [1]


async def test_externally_cancelled_poll_is_repeated() -> None:
    """Code that cancels every task that it does not know must not leave a wait without polls."""
    transport = scripted_transport(OPEN, OPEN, DONE, latency=0.5)
    wait = waiting(transport)
    await sleep_until(0.2)
    [worker] = asyncio.all_tasks() - {wait, asyncio.current_task()}
    worker.cancel()
    assert (await asyncio.wait_for(wait, 10)).succeeded


async def test_more_frequent_policy_advances_the_next_poll() -> None:
    service = Service(duration=10, latency=0)
    generations = create_generations(create_engine(service.transport))
    task_id = service.sell()
    infrequent = PollPolicy(first=100, base=600, cap=600, floor=600, timeout=None)
    first = asyncio.create_task(generations.wait_for(task_id, poll=infrequent))
    await sleep_until(5)
    assert (await generations.wait_for(task_id, poll=EVERY_SECOND)).succeeded
    assert now() <= 11
    assert (await first).succeeded


async def test_more_frequent_policy_does_not_delay_a_poll() -> None:
    transport = scripted_transport(OPEN, OPEN, DONE)
    generations = create_generations(create_engine(transport))
    infrequent = PollPolicy(base=100, cap=100, floor=100, timeout=None)
    first = asyncio.create_task(generations.wait_for("task_1", poll=infrequent))
    await sleep_until(98)
    await generations.wait_for("task_1", poll=PollPolicy(base=8, cap=8, floor=8, timeout=None))
    assert transport.times == pytest.approx([0, 100, 109])  # the cap has grown to a tenth of the age
    await first


async def test_more_frequent_policy_respects_back_off() -> None:
    transport = scripted_transport(error_response(429, "rate_limited", Retry_After="20"), DONE)
    generations = create_generations(create_engine(transport))
    first = asyncio.create_task(generations.wait_for("task_1"))
    await sleep_until(1)
    await generations.wait_for("task_1", poll=EVERY_SECOND)
    assert transport.times == pytest.approx([0, 20])
    await first


async def test_cancelled_poll_passes_its_slot_on() -> None:
    async def answer(request: Request) -> Reply:
        return DONE if request.path.endswith("task_1") else await no_response(request)

    engine = create_engine(ScriptedTransport(answer), max_connections=1)
    generations = create_generations(engine)
    stuck = asyncio.create_task(generations.wait_for("task_stuck"))
    await settle()
    queued = asyncio.create_task(generations.wait_for("task_1", timeout=60))
    await settle()
    await cancel(stuck)
    assert (await queued).succeeded
    assert now() == 0


async def test_less_frequent_policy_does_not_slow_polls() -> None:
    service = Service(duration=10, latency=0)
    generations = create_generations(create_engine(service.transport))
    task_id = service.sell()
    frequent = asyncio.create_task(generations.wait_for(task_id, poll=EVERY_SECOND))
    await sleep_until(5)
    infrequent = PollPolicy(first=100, base=600, cap=600, floor=600, timeout=None)
    await generations.wait_for(task_id, poll=infrequent)
    assert now() <= 11
    await frequent


# --- deadlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "latency"),
    [(3.5, 0), (3.5, 0.7), (3.2, 0.4), (0.2, 0.7), (3, 0), (3, 0.5)],
    ids=["in a sleep", "in a sleep, slow", "in a request", "in the first request", "at a poll", "at a poll, slow"],
)
async def test_deadline_is_exact(timeout: float, latency: float) -> None:
    transport = scripted_transport(OPEN, latency=latency)
    error = await error_from(waiting(transport, timeout=timeout))
    assert isinstance(error, WaitTimeoutError)
    assert isinstance(error, TimeoutError)
    assert now() == pytest.approx(timeout)
    assert error.task_id == "task_1"
    if timeout > latency:
        assert error.last is not None
        assert error.last.status == "processing"
        assert "still 'processing'" in error.message
    sent = len(transport.received)
    await asyncio.sleep(100)
    assert transport.in_flight == transport.cancelled == 0  # a poll on its way comes to its end
    assert len(transport.received) == sent


async def test_timeout_0_sends_nothing() -> None:
    transport = scripted_transport(DONE)
    assert isinstance(await error_from(waiting(transport, timeout=0)), WaitTimeoutError)
    assert now() == 0
    await asyncio.sleep(10)
    assert transport.received == []


async def test_timeout_0_returns_ended_record() -> None:
    generations = create_generations(create_engine(scripted_transport(OPEN)))
    ended = record("task_1", "succeeded")
    assert await generations.wait_for(ended, timeout=0) is ended


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf, True, "5"])
async def test_invalid_timeout_is_rejected_before_requests(timeout: Any) -> None:
    transport = scripted_transport(DONE)
    generations = create_generations(create_engine(transport))
    assert isinstance(await error_from(generations.wait_for("task_1", timeout=timeout)), ConfigurationError)
    assert isinstance(await error_from(generations.generate(JOB, timeout=timeout)), ConfigurationError)
    for stream in (
        generations.watch("task_1", timeout=timeout),
        generations.as_completed(["task_1"], timeout=timeout),
        generations.map([JOB], timeout=timeout),
    ):
        with pytest.raises(ConfigurationError):
            await anext(stream)
    assert transport.received == []


@pytest.mark.parametrize("timeout", [None, math.inf, 1e12, 10**12])
async def test_wait_without_timeout_lasts_for_weeks(timeout: float | None) -> None:
    service = Service(duration=30 * 86_400)
    generations = create_generations(create_engine(service.transport), PollPolicy(cap=3600))
    assert (await generations.wait_for(service.sell(), timeout=timeout)).succeeded


async def test_policy_timeout_is_the_default() -> None:
    assert isinstance(
        await error_from(waiting(scripted_transport(OPEN), poll=PollPolicy(timeout=42))), WaitTimeoutError
    )
    assert now() == pytest.approx(42)


async def test_waiters_have_separate_deadlines() -> None:
    service = Service(duration=10)
    generations = create_generations(create_engine(service.transport), EVERY_SECOND)
    task_id = service.sell()
    short, long = (asyncio.create_task(generations.wait_for(task_id, timeout=seconds)) for seconds in (4.5, 60))
    assert isinstance(await error_from(short), WaitTimeoutError)
    assert now() == 4.5
    assert (await long).succeeded


async def test_response_and_deadline_in_one_iteration() -> None:
    """The wait ends exactly once, with the record or at the deadline."""
    transport = scripted_transport(DONE, latency=1)
    wait = waiting(transport, timeout=5)
    await settle()
    running_loop().advance(10)
    outcome = await asyncio.gather(wait, return_exceptions=True)
    assert isinstance(outcome[0], Generation | WaitTimeoutError)


async def test_stalled_loop_does_not_catch_up_polls() -> None:
    transport = scripted_transport(*[OPEN] * 10, DONE)
    wait = waiting(transport)
    await sleep_until(3.5)
    running_loop().advance(300)
    assert (await wait).succeeded
    assert len(transport.received) == 11


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_transient_faults_do_not_end_a_wait(fault: Reply) -> None:
    transport = scripted_transport(fault)
    error = await error_from(waiting(transport, timeout=3600))
    assert isinstance(error, WaitTimeoutError)
    assert now() == pytest.approx(3600)
    assert 3600 / 31 < len(transport.received) < 3600 / 10


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_wait_survives_transient_fault(fault: Reply) -> None:
    transport = scripted_transport(OPEN, *[fault] * 50, OPEN, *[fault] * 50, DONE)
    assert (await waiting(transport)).succeeded
    assert len(transport.received) == 103
    gaps = [later - earlier for earlier, later in pairwise(transport.times)]
    assert min(gaps) >= EVERY_SECOND.floor
    assert max(gaps) <= max(RetryPolicy().cap, now() / 10)


@pytest.mark.parametrize(("wish", "gap"), [("7", 7), ("0", 1), ("600", 30)])
async def test_retry_after_of_poll_is_bounded_by_floor_and_cap(wish: str, gap: float) -> None:
    transport = scripted_transport(error_response(429, "rate_limited", Retry_After=wish), DONE)
    await waiting(transport)
    assert transport.times == pytest.approx([0, gap])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error_response(401, "api_key_revoked"), AuthenticationError),
        (error_response(403, "api_scope_denied"), PermissionDeniedError),
        (error_response(404, "not_found"), NotFoundError),
        (error_response(410), NotFoundError),
    ],
)
async def test_permanent_error_ends_every_wait(answer: Reply, kind: type[RivyaError]) -> None:
    engine = create_engine(scripted_transport(OPEN, OPEN, answer))
    generations = create_generations(engine, EVERY_SECOND)
    errors = await asyncio.gather(*(generations.wait_for("task_1") for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [kind] * 3
    assert len({id(error) for error in errors}) == 3
    assert now() == 2
    for error in errors:
        assert isinstance(error, RivyaError)
        assert ["task_1" in note for note in error.__notes__] == [True]
        error.add_note("mine")
    assert all(len(error.__notes__) == 2 for error in errors if isinstance(error, RivyaError))
    await engine.aclose()
    assert running_loop().timers == 0


async def test_missing_api_key_ends_a_wait_at_once() -> None:
    transport = scripted_transport(DONE)
    engine = create_engine(transport, settings=Config(api_key=None, base_url="http://service.test"))
    assert isinstance(await error_from(create_generations(engine).wait_for("task_1")), ConfigurationError)
    assert transport.received == []


async def test_early_404_after_own_submit_is_tolerated() -> None:
    missing = error_response(404, "not_found")
    transport = scripted_transport(job_response("task_1"), missing, missing, DONE)
    generations = create_generations(create_engine(transport))
    bought = await generations.create("z-image", "x")
    assert (await generations.wait_for(bought)).succeeded
    assert len(transport.polls) == 3
    assert transport.polls[1].at <= assumptions.NOT_FOUND_GRACE


async def test_late_404_ends_a_wait() -> None:
    generations = create_generations(
        create_engine(scripted_transport(job_response("task_1"), error_response(404, "not_found"))), EVERY_SECOND
    )
    bought = await generations.create("z-image", "x")
    assert isinstance(await error_from(generations.wait_for(bought)), NotFoundError)
    assert assumptions.NOT_FOUND_GRACE <= now() < assumptions.NOT_FOUND_GRACE + RetryPolicy().cap


async def test_404_long_after_own_submit_ends_a_wait_at_once() -> None:
    transport = scripted_transport(job_response("task_1"), error_response(404, "not_found"))
    generations = create_generations(create_engine(transport), EVERY_SECOND)
    bought = await generations.create("z-image", "x")
    await sleep_until(60)
    assert isinstance(await error_from(generations.wait_for(bought)), NotFoundError)
    assert now() == pytest.approx(60)


@pytest.mark.parametrize(
    "garbage",
    [GARBAGE, Response(200, {}, b""), Response(200, {}, b"{")],
    ids=["a page", "empty", "truncated"],
)
async def test_non_json_responses_are_always_tolerated(garbage: Reply) -> None:
    transport = scripted_transport(OPEN, *[garbage] * 50, DONE)
    assert (await waiting(transport)).succeeded


@pytest.mark.parametrize(
    "garbage",
    [job_response("task_2"), ok(id="task_1", status=5, model="x"), Response(200, {}, b"[]")],
    ids=["another task", "a status that is no string", "a list"],
)
async def test_undecodable_json_is_always_tolerated(garbage: Reply) -> None:
    transport = scripted_transport(OPEN, *[garbage] * 50, DONE)
    assert (await waiting(transport)).succeeded


@pytest.mark.parametrize(
    "answer",
    [
        GARBAGE,
        *(Response(status, {}, b"<html>Sign in</html>") for status in (302, 400, 401, 403, 404, 407, 421, 499)),
        Response(403, {}, b'{"detail": "blocked"}'),
    ],
)
async def test_foreign_responses_end_a_wait_only_before_the_first_api_response(answer: Reply) -> None:
    transport = scripted_transport(OPEN, *[answer] * 100, DONE)
    assert (await waiting(transport)).succeeded
    assert now() > 90
    began = now()
    error = await error_from(waiting(scripted_transport(answer)))
    assert isinstance(error, RivyaError)
    assert error.task_id == "task_1"
    assert 60 <= now() - began < 60 + RetryPolicy().cap
    assert "base_url" in str(error)
    assert "captive portal" in str(error)


async def test_connection_errors_do_not_end_a_wait_before_the_first_answer() -> None:
    transport = scripted_transport(*[RequestNotSentError("no network")] * 50, DONE)
    assert (await waiting(transport)).succeeded


async def test_unexpected_error_ends_the_wait() -> None:
    engine = create_engine(scripted_transport(OPEN, RuntimeError("a bug")))
    error = await error_from(create_generations(engine, EVERY_SECOND).wait_for("task_1"))
    assert isinstance(error, RivyaError)
    assert "a bug" in error.message
    gc.collect()
    reported = running_loop().reported
    assert [str(context["exception"]) for context in reported] == ["a bug"]
    reported.clear()


async def test_thousand_waits_survive_a_minute_of_outage() -> None:
    service = Service(duration=20)
    numbers = iter(range(10**9))
    engine = create_engine(service.transport, max_connections=50, uniform=lambda: next(numbers) * 0.61803398875 % 1)
    generations = create_generations(engine)
    waits = [asyncio.create_task(generations.wait_for(service.sell())) for _ in range(1000)]
    await sleep_until(10)
    service.is_down = True
    before = len(service.transport.received)
    await sleep_until(70)
    during = len(service.transport.received) - before
    service.is_down = False
    ended = await asyncio.gather(*waits)
    assert all(generation.succeeded for generation in ended)
    assert now() < 70 + RetryPolicy().cap + 10
    assert during < 1000 * 12, "the load on a service that is down is bounded"
    after = [sent.at for sent in service.transport.received if sent.at > 70]
    usual = busiest_second(service.transport.times, 2, 10)
    assert busiest_second(after, 70, 110) <= 1.25 * usual, "it comes back without a storm"
    assert service.transport.peak <= 50


def busiest_second(times: list[float], first: int, last: int) -> int:
    return max(sum(1 for at in times if second <= at < second + 1) for second in range(first, last))


# --- responses --------------------------------------------------------------------------------------------------------


async def test_unknown_status_is_open() -> None:
    transport = scripted_transport(job_response("task_1", "postponed"), job_response("task_1", "SUCCEEDED"), DONE)
    assert (await waiting(transport)).succeeded
    assert len(transport.received) == 3


async def test_terminal_record_without_result_ends_a_wait() -> None:
    ended = await waiting(scripted_transport(job_response("task_1", "succeeded", result=None)))
    assert (ended.status, ended.urls) == ("succeeded", ())


async def test_failed_job_is_raised_or_returned() -> None:
    failed = job_response("task_1", "failed", error={"code": "moderation", "message": "no"})
    error = await error_from(waiting(scripted_transport(OPEN, failed)))
    assert isinstance(error, GenerationFailedError)
    assert error.generation.error is not None
    assert (await waiting(scripted_transport(OPEN, failed), raise_on_failure=False)).failed


async def watched(*replies: Reply, last: Generation | None = None) -> list[str]:
    generations = create_generations(create_engine(scripted_transport(*replies)), EVERY_SECOND)
    return [generation.status async for generation in generations.watch(last or "task_1")]


async def test_watch_yields_changes_and_the_end() -> None:
    replies = [job_response("task_1"), job_response("task_1"), OPEN, OPEN, job_response("task_1", "odd"), DONE]
    assert await watched(*replies) == ["queued", "processing", "odd", "succeeded"]


async def test_watch_starts_with_unknown_records() -> None:
    assert await watched(job_response("task_1"), OPEN, DONE, last=record("task_1")) == ["processing", "succeeded"]


async def test_reverted_status_is_reported() -> None:
    assert await watched(OPEN, job_response("task_1"), OPEN, DONE) == [
        "processing",
        "queued",
        "processing",
        "succeeded",
    ]


async def test_older_record_is_not_reported() -> None:
    replies = [
        job_response("task_1", "processing", 5),
        job_response("task_1", "queued", 1),
        job_response("task_1", "processing", 6),
        DONE,
    ]
    assert await watched(*replies) == ["processing", "processing", "succeeded"]


async def test_end_counts_despite_its_timestamp() -> None:
    assert await watched(job_response("task_1", "processing", 5), job_response("task_1", "succeeded", 1)) == [
        "processing",
        "succeeded",
    ]


async def test_joining_waiter_gets_unknown_records() -> None:
    generations = create_generations(
        create_engine(scripted_transport(job_response("task_1", "processing", 5), DONE)), EVERY_SECOND
    )
    first = asyncio.create_task(generations.wait_for("task_1"))
    await sleep_until(0.5)
    seen = [g.status async for g in generations.watch(record("task_1", "queued", 1))]
    assert seen == ["processing", "succeeded"]
    await first


async def test_joining_waiter_gets_no_older_record() -> None:
    transport = scripted_transport(job_response("task_1", "queued", 1), job_response("task_1", "processing", 5), DONE)
    generations = create_generations(create_engine(transport), EVERY_SECOND)
    received: list[str] = []
    first = asyncio.create_task(generations.wait_for("task_1", on_update=lambda g: received.append(g.status)))
    await sleep_until(0.5)
    seen = [g.status async for g in generations.watch(record("task_1", "processing", 5))]
    assert seen == ["succeeded"]
    assert received == ["queued", "processing", "succeeded"]
    await first


async def test_waiter_does_not_get_the_record_that_it_passed() -> None:
    generations = create_generations(
        create_engine(scripted_transport(job_response("task_1"), DONE, latency=0.5)), EVERY_SECOND
    )
    first = asyncio.create_task(generations.wait_for("task_1"))
    await settle()
    assert [g.status async for g in generations.watch(record("task_1"))] == ["succeeded"]
    await first


async def test_slow_listener_gets_the_end() -> None:
    replies = [job_response("task_1", f"step {n}") for n in range(200)]
    generations = create_generations(create_engine(scripted_transport(*replies, DONE)), EVERY_SECOND)
    seen = []
    async with aclosing(generations.watch("task_1")) as updates:
        async for generation in updates:
            seen.append(generation.status)
            await asyncio.sleep(50)
    assert seen[0] == "step 0"
    assert seen[-1] == "succeeded"
    assert seen[1:-1] == sorted(seen[1:-1], key=lambda status: int(status.split()[1]))


# --- on_update --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_on_update_gets_changes_and_the_end(is_async: bool) -> None:
    received: list[str] = []

    def plain(generation: Generation) -> None:
        received.append(generation.status)

    async def slow(generation: Generation) -> None:
        await asyncio.sleep(0.2)
        received.append(generation.status)

    listener: Callable[[Generation], Any] = slow if is_async else plain
    ended = await waiting(
        scripted_transport(job_response("task_1"), job_response("task_1"), OPEN, DONE), on_update=listener
    )
    assert received == ["queued", "processing", "succeeded"]
    assert ended.succeeded


@pytest.mark.parametrize("status", ["queued", "processing", "succeeded"])
async def test_error_in_on_update_ends_its_wait(status: str) -> None:
    def listener(generation: Generation) -> None:
        if generation.status == status:
            raise LookupError(status)

    engine = create_engine(scripted_transport(job_response("task_1"), OPEN, DONE))
    generations = create_generations(engine, EVERY_SECOND)
    other = asyncio.create_task(generations.wait_for("task_1"))
    assert isinstance(await error_from(generations.wait_for("task_1", on_update=listener)), LookupError)
    assert (await other).succeeded
    assert engine.wait_registry._active == {}


async def test_generate_reports_the_first_record() -> None:
    received: list[str] = []
    listener: Callable[[Generation], None] = lambda generation: received.append(generation.status)  # noqa: E731
    generations = create_generations(create_engine(scripted_transport(job_response("task_1"), OPEN, DONE)))
    await generations.generate(JOB, on_update=listener)
    assert received == ["queued", "processing", "succeeded"]
    received.clear()
    replayed = create_generations(create_engine(scripted_transport(DONE)))
    await replayed.generate(JOB, on_update=listener)
    assert received == ["succeeded"]


@pytest.mark.parametrize("status", ["queued", "processing"])
async def test_error_in_on_update_of_generate_names_the_job(status: str) -> None:
    def listener(generation: Generation) -> None:
        if generation.status == status:
            raise LookupError(status)

    generations = create_generations(create_engine(scripted_transport(job_response("task_1"), OPEN, DONE)))
    error = await error_from(generations.generate(JOB, on_update=listener))
    assert isinstance(error, LookupError)
    assert any("task_1" in note for note in error.__notes__)


async def test_cancelled_generate_names_the_job() -> None:
    generations = create_generations(create_engine(scripted_transport(job_response("task_1"), OPEN)))
    generating = asyncio.create_task(generations.generate(JOB))
    await sleep_until(5)
    generating.cancel()
    error = await error_from(generating)
    assert isinstance(error, asyncio.CancelledError)
    assert any("task_1" in note for note in error.__notes__)


async def test_errors_of_generate_after_the_purchase_name_the_job_and_the_key() -> None:
    generations = create_generations(
        create_engine(scripted_transport(job_response("task_1"), error_response(401, "api_key_revoked")))
    )
    error = await error_from(generations.generate(attrs.evolve(JOB, idempotency_key="order-42")))
    assert isinstance(error, AuthenticationError)
    assert error.idempotency_key == "order-42"
    assert any("task_1" in note for note in error.__notes__)


# --- resuming ---------------------------------------------------------------------------------------------------------


async def test_wait_can_be_resumed_by_id() -> None:
    service = Service(duration=100)
    bought = await create_generations(create_engine(service.transport)).create("z-image", "x")
    error = await error_from(create_generations(create_engine(service.transport)).wait_for(bought.id, timeout=10))
    assert isinstance(error, WaitTimeoutError)
    ended = await create_generations(create_engine(service.transport)).wait_for(error.task_id)
    assert ended.succeeded
    assert len(service.transport.purchases) == 1


async def test_foreign_job_is_polled_at_once() -> None:
    transport = scripted_transport(DONE)
    await create_generations(create_engine(transport)).wait_for(record("task_1"))
    assert transport.times == [0]


async def test_ended_replayed_purchase_needs_no_poll() -> None:
    generations = create_generations(create_engine(transport := scripted_transport(DONE)))
    assert (await generations.generate(attrs.evolve(JOB, idempotency_key="order-42"))).succeeded
    assert transport.polls == []


# --- the schedule -----------------------------------------------------------------------------------------------------


@given(
    u=st.floats(0, 1, exclude_max=True),
    policy=st.builds(
        lambda first, floor, base, cap, factor: PollPolicy(
            first=first, floor=floor, base=base, cap=max(base, floor, cap), factor=factor, timeout=150
        ),
        st.floats(0, 20),
        st.floats(0.5, 10),
        st.floats(0.5, 20),
        st.floats(0.5, 60),
        st.sampled_from([1.0, 1.1, 1.5, 2.0, 4.0]),
    ),
)
def test_polls_follow_the_policy(u: float, policy: PollPolicy) -> None:
    async def main() -> None:
        transport = scripted_transport(job_response("task_1"), OPEN)
        generations = create_generations(create_engine(transport, uniform=lambda: u))
        assert isinstance(await error_from(generations.generate(JOB, poll=policy)), WaitTimeoutError)
        times = [sent.at for sent in transport.polls if sent.at < 150 - FINAL_POLL_LEAD]
        if times:
            assert times[0] == pytest.approx(policy.first * (0.8 + 0.4 * u))
        for k, (earlier, later) in enumerate(pairwise(times)):
            rising = policy.base * policy.factor ** min(k, 200)
            ceiling = rising if rising < policy.cap else max(policy.cap, earlier / 10)
            expected = policy.floor + u * max(0.0, ceiling - policy.floor)
            assert later - earlier == pytest.approx(expected, rel=1e-3)

    run(main())


async def test_first_poll_delay_starts_at_submit() -> None:
    transport = scripted_transport(job_response("task_1"), DONE)
    generations = create_generations(create_engine(transport))
    bought = await generations.create("z-image", "x")
    await sleep_until(1)
    await generations.wait_for(bought)
    assert transport.polls[0].at == pytest.approx(2.5)


async def test_remembered_submits_are_bounded() -> None:
    engine = create_engine(scripted_transport(job_response("task_1")))
    for n in range(MAX_SUBMITTED_JOBS + 10):
        engine.wait_registry.register_submitted(record(f"task_{n}"), "z-image")
    assert len(engine.wait_registry._submitted) == MAX_SUBMITTED_JOBS


# --- closing ----------------------------------------------------------------------------------------------------------


async def test_close_ends_every_kind_of_wait() -> None:
    engine = create_engine(scripted_transport(OPEN, latency=0.3))
    generations = create_generations(engine, EVERY_SECOND)
    bought = record("task_1")

    async def drain(records: Any) -> None:
        async for _ in records:
            pass

    waits = [
        asyncio.create_task(wait)
        for wait in (
            generations.wait_for("task_1"),
            generations.wait_for(bought, on_update=lambda _: None),
            drain(generations.watch("task_1")),
            drain(generations.as_completed(["task_1"])),
        )
    ]
    await sleep_until(1.1)  # a poll is in flight
    await engine.aclose()
    assert asyncio.all_tasks() <= {*waits, asyncio.current_task()}
    errors = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(error) for error in errors] == [SessionClosedError] * 4
    for error in errors:
        assert isinstance(error, SessionClosedError)
        assert error.task_id == "task_1"
        assert error.last is not None
    assert now() == pytest.approx(1.1)
    assert running_loop().timers == 0


async def test_closed_engine_rejects_waits() -> None:
    transport = scripted_transport(OPEN)
    engine = create_engine(transport)
    await engine.aclose()
    generations = create_generations(engine)
    assert isinstance(await error_from(generations.wait_for("task_1")), SessionClosedError)
    assert isinstance(await error_from(anext(generations.watch("task_1"))), SessionClosedError)
    assert isinstance(await error_from(anext(generations.as_completed(["task_1"]))), SessionClosedError)
    assert transport.received == []
    assert running_loop().timers == 0


# --- many -------------------------------------------------------------------------------------------------------------


async def test_ten_thousand_waits_have_two_timers_and_a_bound_on_polls_in_flight() -> None:
    service = Service(duration=10, latency=0)
    numbers = iter(range(10**9))
    engine = create_engine(service.transport, uniform=lambda: next(numbers) * 0.61803398875 % 1, max_connections=100)
    generations = create_generations(engine)
    waits = [
        asyncio.create_task(generations.generate(GenerationRequest("z-image", f"Poster {n}"))) for n in range(10_000)
    ]
    await sleep_until(1)
    assert len(service.sold) == 10_000
    assert running_loop().timers == 2  # of the waits' deadlines, and of the polls
    service.transport.latency = 0.2
    ended = await asyncio.gather(*waits)
    assert len({generation.id for generation in ended}) == 10_000
    assert service.transport.peak == 100
    assert len(service.transport.purchases) == 10_000
    assert len(service.transport.polls) < 60_000
    assert engine.wait_registry._active == {}
    await engine.aclose()
    assert running_loop().timers == 0


# --- against a model --------------------------------------------------------------------------------------------------


@given(
    replies=st.lists(
        st.sampled_from([OPEN, job_response("task_1"), job_response("task_1", "odd"), GARBAGE, *TRANSIENT.values()]),
        max_size=25,
    ),
    waits=st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["stay", "cancel", "deadline"])), max_size=6),
    latency=st.sampled_from([0.0, 0.3, 2.5]),
)
def test_remaining_waiters_get_the_end_in_any_sequence(
    replies: list[Reply], waits: list[tuple[float, str]], latency: float
) -> None:
    async def main() -> None:
        engine = create_engine(scripted_transport(*replies, DONE, latency=latency), retry=RetryPolicy(max_attempts=50))
        generations = create_generations(engine, EVERY_SECOND)

        async def one(at: float, fate: str) -> None:
            await asyncio.sleep(at / 2)
            wait = asyncio.create_task(generations.wait_for("task_1", timeout=at if fate == "deadline" else None))
            if fate == "cancel":
                await asyncio.sleep(at)
                await cancel(wait)
                return
            outcome = (await asyncio.gather(wait, return_exceptions=True))[0]
            if fate == "stay" or not isinstance(outcome, WaitTimeoutError):
                assert isinstance(outcome, Generation)
                assert outcome.succeeded

        await asyncio.gather(*(one(at, fate) for at, fate in waits), one(0, "stay"))
        assert engine.wait_registry._active == {}
        assert len(engine._timers) == 0
        await engine.aclose()
        assert running_loop().timers == 0

    run(main())


async def test_unknown_outcome_of_poll_is_not_a_purchase_error() -> None:
    error = await error_from(
        create_generations(create_engine(scripted_transport(OutcomeUnknownError("dropped")))).retrieve("task_1")
    )
    assert isinstance(error, OutcomeUnknownError)
    assert error.idempotency_key is None
