"""Waiting for many jobs in one loop, and leaving it at any time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from rivya_async._core.errors import (
    AuthenticationError,
    InternalServerError,
    NotFoundError,
    RivyaError,
    SessionClosedError,
    WaitTimeoutError,
)
from rivya_async._core.http.messages import Request
from rivya_async._core.policies import PollPolicy
from rivya_async._core.types.generations import Generation
from rivya_async._engine.engine import Engine
from tests.engine.engine_kit import (
    Reply,
    ScriptedTransport,
    Service,
    cancel,
    engine_over,
    failure_of,
    generations_of,
    ids,
    job,
    record,
    refusal,
    script,
    until,
)
from tests.engine.virtual_time import now, running_loop, settle

EVERY_SECOND = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None)


async def drained(records: AsyncGenerator[Generation]) -> list[Generation]:
    return [generation async for generation in records]


async def drained_into(seen: list[str], records: AsyncGenerator[Generation]) -> None:
    """For loops that end by an error."""
    async for generation in records:
        seen.append(generation.id)  # noqa: PERF401 - what came before the error is what matters


async def assert_idle(engine: Engine) -> None:
    await settle()
    assert engine.wait_registry._active == {}
    assert len(engine._timers) == 0
    assert engine.wait_registry._poller.workers == set()


async def test_records_come_in_the_order_of_their_ends() -> None:
    service = Service()
    durations = {"a": 30.0, "b": 5.0, "c": 12.0}
    for task_id, duration in durations.items():
        service.sell(task_id, duration)
    engine = engine_over(service.transport)
    ended = await drained(generations_of(engine, EVERY_SECOND).as_completed(durations))
    assert ids(ended) == ["b", "c", "a"]
    await assert_idle(engine)


async def test_each_job_is_yielded_once_however_often_it_is_named() -> None:
    service = Service()
    task_id = service.sell()
    named: list[Generation | str] = [task_id, record(task_id), task_id]
    engine = engine_over(service.transport)
    assert ids(await drained(generations_of(engine, EVERY_SECOND).as_completed(named))) == [task_id]
    assert service.transport.peak == 1


async def test_a_record_that_has_ended_needs_no_poll_even_if_its_id_is_named_again() -> None:
    transport = script(job("task_1", "processing"))
    ended = record("task_1", "succeeded")
    generations = generations_of(engine_over(transport))
    assert await drained(generations.as_completed([ended])) == [ended]
    assert await drained(generations.as_completed([ended, "task_1"])) == [ended]
    assert transport.received == []


async def test_nothing_to_wait_for() -> None:
    assert await drained(generations_of(engine_over(script(job("task_1")))).as_completed([])) == []


async def test_failed_jobs_are_yielded() -> None:
    ended = await drained(generations_of(engine_over(script(job("task_1", "failed")))).as_completed(["task_1"]))
    assert [generation.status for generation in ended] == ["failed"]


async def test_errors_of_single_jobs_are_raised_when_all_others_have_ended() -> None:
    service = Service()
    service.sell("a", 30)
    engine = engine_over(service.transport)
    ended: list[str] = []
    with pytest.raises(NotFoundError) as caught:
        await drained_into(ended, generations_of(engine, EVERY_SECOND).as_completed(["x", "a", "y", "z"]))
    assert ended == ["a"]
    notes = caught.value.__notes__
    assert ["x" in note for note in notes[:1]] == [True]
    assert len(notes) == 3, "its own, and one for each of the others"
    await assert_idle(engine)


async def test_of_very_many_errors_ten_are_told() -> None:
    engine = engine_over(script(refusal(404, "not_found")))
    error = await failure_of(drained(generations_of(engine).as_completed(f"task_{n}" for n in range(500))))
    assert isinstance(error, NotFoundError)
    assert len(error.__notes__) == 1 + 10 + 1
    assert error.__notes__[-1] == "... and 489 more"


async def test_notes_of_a_loop_do_not_reach_another_wait_for_one_of_its_jobs() -> None:
    generations = generations_of(engine_over(script(refusal(404, "not_found"))))
    single, _ = await asyncio.gather(
        failure_of(generations.wait_for("a")), failure_of(drained(generations.as_completed(["a", "b", "c"])))
    )
    assert len(single.__notes__) == 1


async def test_the_deadline_names_what_is_open_and_the_errors_of_the_others() -> None:
    service = Service()
    for task_id, duration in {"a": 5.0, "b": 100.0, "c": 100.0}.items():
        service.sell(task_id, duration)
    engine = engine_over(service.transport)
    ended: list[str] = []
    looping = drained_into(ended, generations_of(engine, EVERY_SECOND).as_completed(["a", "b", "x", "c"], timeout=20))
    with pytest.raises(WaitTimeoutError) as caught:
        await looping
    assert ended == ["a"]
    assert now() == pytest.approx(20)
    error = caught.value
    assert error.task_id == "b"
    assert "open: b c" in error.__notes__
    assert any("404" in note for note in error.__notes__)
    await assert_idle(engine)


async def test_timeout_0_yields_what_has_ended_and_asks_nothing() -> None:
    transport = script(job("task_2", "succeeded"))
    ended = record("task_1", "succeeded")
    seen: list[str] = []
    with pytest.raises(WaitTimeoutError):
        await drained_into(seen, generations_of(engine_over(transport)).as_completed([ended, "task_2"], timeout=0))
    await asyncio.sleep(10)
    assert seen == ["task_1"]
    assert transport.received == []


async def test_a_slow_consumer_gets_what_ended_before_the_deadline_even_after_it() -> None:
    service = Service(duration=5)
    task_ids = [service.sell() for _ in range(5)]
    seen = []
    async for generation in generations_of(engine_over(service.transport), EVERY_SECOND).as_completed(
        task_ids, timeout=20
    ):
        seen.append(generation.id)
        await asyncio.sleep(30)
    assert sorted(seen) == task_ids


async def test_a_loop_that_is_left_early_lets_go_of_its_waits() -> None:
    service = Service()
    for task_id, duration in {"a": 5.0, "b": 100.0}.items():
        service.sell(task_id, duration)
    engine = engine_over(service.transport)
    async with aclosing(generations_of(engine, EVERY_SECOND).as_completed(["a", "b"])) as records:
        async for _ in records:
            break
    await settle()
    await assert_idle(engine)
    sent = len(service.transport.received)
    await asyncio.sleep(100)
    assert len(service.transport.received) == sent


@pytest.mark.parametrize("verb", ["watch", "as_completed"])
async def test_a_loop_that_is_left_without_closing_lets_go_too(verb: str) -> None:
    service = Service(duration=1000)
    engine = engine_over(ScriptedTransport(lambda _: job("task_1", f"at {now():g}")))
    generations = generations_of(engine, EVERY_SECOND)
    if verb == "watch":
        async for _ in generations.watch("task_1"):
            break
    else:
        records = generations.as_completed(["task_1"])
        waiting = asyncio.create_task(anext(records))
        await until(5)
        await cancel(waiting)
        del records, waiting
    gc.collect()
    await settle()
    await assert_idle(engine)
    assert service.transport.received == []


@pytest.mark.parametrize("verb", ["watch", "as_completed"])
async def test_a_generator_that_is_never_begun_waits_for_nothing(verb: str) -> None:
    transport = script(job("task_1"))
    engine = engine_over(transport)
    generations = generations_of(engine)
    records = generations.watch("task_1") if verb == "watch" else generations.as_completed(["task_1"])
    await asyncio.sleep(100)
    await records.aclose()
    assert transport.received == []
    await assert_idle(engine)


async def test_leaving_one_loop_leaves_another_wait_alone() -> None:
    service = Service(duration=20)
    task_id = service.sell()
    engine = engine_over(service.transport)
    generations = generations_of(engine, EVERY_SECOND)
    looping = asyncio.create_task(drained(generations.as_completed([task_id])))
    watching = asyncio.create_task(drained(generations.watch(task_id)))
    waiting = asyncio.create_task(generations.wait_for(task_id))
    await until(5)
    await cancel(looping, watching)
    assert (await waiting).succeeded
    assert service.transport.peak == 1
    await assert_idle(engine)


async def test_one_faulty_job_among_transient_faults_of_the_service() -> None:
    service = Service(duration=10)
    task_ids = [service.sell() for _ in range(20)]
    engine = engine_over(service.transport)
    looping = asyncio.create_task(drained(generations_of(engine, EVERY_SECOND).as_completed(task_ids)))
    await until(5)
    service.is_down = True
    await until(65)
    service.is_down = False
    assert sorted(ids(await looping)) == sorted(task_ids)


async def test_a_key_that_is_revoked_ends_the_loop_with_an_error_for_each() -> None:
    def answer(request: Request) -> Reply:
        return refusal(401, "api_key_revoked") if now() >= 5 else job(request.path.rpartition("/")[2], "processing")

    engine = engine_over(ScriptedTransport(answer))
    error = await failure_of(drained(generations_of(engine, EVERY_SECOND).as_completed(["a", "b", "c"])))
    assert isinstance(error, AuthenticationError)
    await assert_idle(engine)


async def test_closing_raises_what_was_queued_first() -> None:
    service = Service()
    for task_id, duration in {"a": 2.0, "b": 2.0, "c": 100.0}.items():
        service.sell(task_id, duration)
    engine = engine_over(service.transport)
    seen: list[str] = []

    async def slowly() -> None:
        async for generation in generations_of(engine, EVERY_SECOND).as_completed(["a", "b", "c"]):
            seen.append(generation.id)
            await asyncio.sleep(10)

    looping = asyncio.create_task(slowly())
    await until(5)
    await engine.aclose()
    error = await failure_of(looping)
    assert isinstance(error, SessionClosedError)
    assert error.task_id == "c"
    assert sorted(seen) == ["a", "b"]


async def test_ten_thousand_ids_in_one_loop() -> None:
    service = Service(duration=15, latency=0.05)
    task_ids = [service.sell() for _ in range(10_000)]
    dice = iter(range(10**9))
    engine = engine_over(service.transport, uniform=lambda: next(dice) * 0.61803398875 % 1)
    looping = asyncio.create_task(drained(generations_of(engine).as_completed(task_ids)))
    await until(10)
    assert running_loop().timers <= 2 + service.transport.in_flight
    ended = await looping
    assert sorted(ids(ended)) == sorted(task_ids)
    assert service.transport.peak == 100
    await assert_idle(engine)


async def test_a_service_error_is_never_the_end_of_a_read_once() -> None:
    error = await failure_of(generations_of(engine_over(script(refusal(503)))).retrieve("task_1"))
    assert isinstance(error, InternalServerError)
    assert isinstance(error, RivyaError)
    assert error.attempts == 5
