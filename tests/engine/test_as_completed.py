"""Group waits with `as_completed`, ended at any time."""

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
    create_engine,
    create_generations,
    error_from,
    error_response,
    ids,
    job_response,
    record,
    scripted_transport,
    sleep_until,
)
from tests.engine.virtual_time import now, running_loop, settle

EVERY_SECOND = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None)


async def collect(records: AsyncGenerator[Generation]) -> list[Generation]:
    return [generation async for generation in records]


async def collect_into(seen: list[str], records: AsyncGenerator[Generation]) -> None:
    """For loops that end by an error."""
    async for generation in records:
        seen.append(generation.id)  # noqa: PERF401 - what came before the error is what matters


async def assert_idle(engine: Engine) -> None:
    await settle()
    assert engine.wait_registry._active == {}
    assert len(engine._timers) == 0
    assert engine.wait_registry._poller.workers == set()


async def test_yields_in_order_of_ends() -> None:
    service = Service()
    durations = {"a": 30.0, "b": 5.0, "c": 12.0}
    for task_id, duration in durations.items():
        service.sell(task_id, duration)
    engine = create_engine(service.transport)
    ended = await collect(create_generations(engine, EVERY_SECOND).as_completed(durations))
    assert ids(ended) == ["b", "c", "a"]
    await assert_idle(engine)


async def test_duplicate_ids_are_yielded_once() -> None:
    service = Service()
    task_id = service.sell()
    named: list[Generation | str] = [task_id, record(task_id), task_id]
    engine = create_engine(service.transport)
    assert ids(await collect(create_generations(engine, EVERY_SECOND).as_completed(named))) == [task_id]
    assert service.transport.peak == 1


async def test_ended_record_needs_no_poll() -> None:
    transport = scripted_transport(job_response("task_1", "processing"))
    ended = record("task_1", "succeeded")
    generations = create_generations(create_engine(transport))
    assert await collect(generations.as_completed([ended])) == [ended]
    assert await collect(generations.as_completed([ended, "task_1"])) == [ended]
    assert transport.received == []


async def test_empty_ids_yield_nothing() -> None:
    assert (
        await collect(create_generations(create_engine(scripted_transport(job_response("task_1")))).as_completed([]))
        == []
    )


async def test_failed_jobs_are_yielded() -> None:
    ended = await collect(
        create_generations(create_engine(scripted_transport(job_response("task_1", "failed")))).as_completed(["task_1"])
    )
    assert [generation.status for generation in ended] == ["failed"]


async def test_errors_of_single_jobs_are_raised_last() -> None:
    service = Service()
    service.sell("a", 30)
    engine = create_engine(service.transport)
    ended: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        await collect_into(ended, create_generations(engine, EVERY_SECOND).as_completed(["x", "a", "y", "z"]))
    assert ended == ["a"]
    errors = caught.value.exceptions
    assert {type(error) for error in errors} == {NotFoundError}
    assert sorted(str(vars(error)["task_id"]) for error in errors) == ["x", "y", "z"]
    await assert_idle(engine)


async def test_single_error_is_raised_as_it_is() -> None:
    engine = create_engine(scripted_transport(error_response(404, "not_found")))
    error = await error_from(collect(create_generations(engine).as_completed(["task_1"])))
    assert isinstance(error, NotFoundError)
    assert error.task_id == "task_1"


async def test_error_notes_are_not_shared_between_waits() -> None:
    generations = create_generations(create_engine(scripted_transport(error_response(404, "not_found"))))
    single, _ = await asyncio.gather(
        error_from(generations.wait_for("a")), error_from(collect(generations.as_completed(["a", "b", "c"])))
    )
    assert len(single.__notes__) == 1


async def test_timeout_error_lists_open_jobs_and_other_errors() -> None:
    service = Service()
    for task_id, duration in {"a": 5.0, "b": 100.0, "c": 100.0}.items():
        service.sell(task_id, duration)
    engine = create_engine(service.transport)
    ended: list[str] = []
    looping = collect_into(
        ended, create_generations(engine, EVERY_SECOND).as_completed(["a", "b", "x", "c"], timeout=20)
    )
    with pytest.raises(ExceptionGroup) as caught:
        await looping
    assert ended == ["a"]
    assert now() == pytest.approx(20)
    error, missing = caught.value.exceptions
    assert isinstance(error, WaitTimeoutError)
    assert error.task_id == "b"
    assert "open: b c" in error.__notes__
    assert isinstance(missing, NotFoundError)
    await assert_idle(engine)


async def test_timeout_0_yields_ended_jobs_without_requests() -> None:
    transport = scripted_transport(job_response("task_2", "succeeded"))
    ended = record("task_1", "succeeded")
    seen: list[str] = []
    with pytest.raises(WaitTimeoutError):
        await collect_into(
            seen, create_generations(create_engine(transport)).as_completed([ended, "task_2"], timeout=0)
        )
    await asyncio.sleep(10)
    assert seen == ["task_1"]
    assert transport.received == []


async def test_slow_consumer_gets_earlier_ends_after_the_deadline() -> None:
    service = Service(duration=5)
    task_ids = [service.sell() for _ in range(5)]
    seen = []
    async for generation in create_generations(create_engine(service.transport), EVERY_SECOND).as_completed(
        task_ids, timeout=20
    ):
        seen.append(generation.id)
        await asyncio.sleep(30)
    assert sorted(seen) == task_ids


async def test_leaving_the_loop_ends_its_waits() -> None:
    service = Service()
    for task_id, duration in {"a": 5.0, "b": 100.0}.items():
        service.sell(task_id, duration)
    engine = create_engine(service.transport)
    async with aclosing(create_generations(engine, EVERY_SECOND).as_completed(["a", "b"])) as records:
        async for _ in records:
            break
    await settle()
    await assert_idle(engine)
    sent = len(service.transport.received)
    await asyncio.sleep(100)
    assert len(service.transport.received) == sent


@pytest.mark.parametrize("verb", ["watch", "as_completed"])
async def test_abandoned_loop_ends_its_waits(verb: str) -> None:
    service = Service(duration=1000)
    engine = create_engine(ScriptedTransport(lambda _: job_response("task_1", f"at {now():g}")))
    generations = create_generations(engine, EVERY_SECOND)
    if verb == "watch":
        async for _ in generations.watch("task_1"):
            break
    else:
        records = generations.as_completed(["task_1"])
        waiting = asyncio.create_task(anext(records))
        await sleep_until(5)
        await cancel(waiting)
        del records, waiting
    gc.collect()
    await settle()
    await assert_idle(engine)
    assert service.transport.received == []


@pytest.mark.parametrize("verb", ["watch", "as_completed"])
async def test_unstarted_generator_starts_no_wait(verb: str) -> None:
    transport = scripted_transport(job_response("task_1"))
    engine = create_engine(transport)
    generations = create_generations(engine)
    records = generations.watch("task_1") if verb == "watch" else generations.as_completed(["task_1"])
    await asyncio.sleep(100)
    await records.aclose()
    assert transport.received == []
    await assert_idle(engine)


async def test_leaving_one_loop_does_not_affect_others() -> None:
    service = Service(duration=20)
    task_id = service.sell()
    engine = create_engine(service.transport)
    generations = create_generations(engine, EVERY_SECOND)
    looping = asyncio.create_task(collect(generations.as_completed([task_id])))
    watching = asyncio.create_task(collect(generations.watch(task_id)))
    waiting = asyncio.create_task(generations.wait_for(task_id))
    await sleep_until(5)
    await cancel(looping, watching)
    assert (await waiting).succeeded
    assert service.transport.peak == 1
    await assert_idle(engine)


async def test_one_failing_job_among_transient_errors() -> None:
    service = Service(duration=10)
    task_ids = [service.sell() for _ in range(20)]
    engine = create_engine(service.transport)
    looping = asyncio.create_task(collect(create_generations(engine, EVERY_SECOND).as_completed(task_ids)))
    await sleep_until(5)
    service.is_down = True
    await sleep_until(65)
    service.is_down = False
    assert sorted(ids(await looping)) == sorted(task_ids)


async def test_revoked_api_key_fails_every_job() -> None:
    def answer(request: Request) -> Reply:
        return (
            error_response(401, "api_key_revoked")
            if now() >= 5
            else job_response(request.path.rpartition("/")[2], "processing")
        )

    engine = create_engine(ScriptedTransport(answer))
    error = await error_from(collect(create_generations(engine, EVERY_SECOND).as_completed(["a", "b", "c"])))
    assert isinstance(error, ExceptionGroup)
    assert {type(each) for each in error.exceptions} == {AuthenticationError}
    await assert_idle(engine)


async def test_close_yields_queued_records_before_its_error() -> None:
    service = Service()
    for task_id, duration in {"a": 2.0, "b": 2.0, "c": 100.0}.items():
        service.sell(task_id, duration)
    engine = create_engine(service.transport)
    seen: list[str] = []

    async def slowly() -> None:
        async for generation in create_generations(engine, EVERY_SECOND).as_completed(["a", "b", "c"]):
            seen.append(generation.id)
            await asyncio.sleep(10)

    looping = asyncio.create_task(slowly())
    await sleep_until(5)
    await engine.aclose()
    error = await error_from(looping)
    assert isinstance(error, SessionClosedError)
    assert error.task_id == "c"
    assert sorted(seen) == ["a", "b"]


async def test_ten_thousand_ids_in_one_loop() -> None:
    service = Service(duration=15, latency=0.05)
    task_ids = [service.sell() for _ in range(10_000)]
    dice = iter(range(10**9))
    engine = create_engine(service.transport, uniform=lambda: next(dice) * 0.61803398875 % 1)
    looping = asyncio.create_task(collect(create_generations(engine).as_completed(task_ids)))
    await sleep_until(10)
    assert running_loop().timers <= 2 + service.transport.in_flight
    ended = await looping
    assert sorted(ids(ended)) == sorted(task_ids)
    assert service.transport.peak == 100
    await assert_idle(engine)


async def test_service_error_is_not_a_terminal_record() -> None:
    error = await error_from(
        create_generations(create_engine(scripted_transport(error_response(503)))).retrieve("task_1")
    )
    assert isinstance(error, InternalServerError)
    assert isinstance(error, RivyaError)
    assert error.attempts == 5
