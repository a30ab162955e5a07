"""Wall clocks that jump, deadlines at every step, and a stalled loop."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Final

import pytest

from rivya_async._core.errors import ConfigurationError, OutcomeUnknownError, SubmitTimeoutError, WaitTimeoutError
from rivya_async._core.policies import PollPolicy, RetryPolicy
from tests.engine.engine_kit import (
    DAY,
    ScriptedTransport,
    Service,
    create_engine,
    create_generations,
    error_from,
    error_response,
    job_response,
    no_response,
    scripted_transport,
)
from tests.engine.virtual_time import now, running_loop, settle

POLL: Final = PollPolicy(first=2.0, base=5.0, cap=5.0, floor=1.0, adaptive=False)
HOUR: Final = 3600.0

STEPS: Final = {"stepping back": -HOUR, "stepping forward": HOUR, "leaping by ten years": 10 * 365 * 24 * HOUR}


async def requests_with_wall_clock(step: float) -> list[tuple[str, float]]:
    """Returns the requests and their times with a wall clock that jumps at each reading."""
    readings = count()
    replies = [error_response(503), error_response(429, Retry_After="3"), job_response("task_1")]
    polls = [
        error_response(500),
        job_response("task_1", "processing"),
        error_response(429, Retry_After="7"),
        job_response("task_1", "succeeded"),
    ]
    transport = ScriptedTransport(lambda sent: (replies if sent.method == "POST" else polls).pop(0), latency=0.1)
    engine = create_engine(transport, wall=lambda: DAY.timestamp() + step * next(readings))
    began = now()
    ended = await create_generations(engine, POLL).generate("z-image", "A red kite", timeout=200.0)
    assert ended.succeeded
    assert len(set(transport.keys)) == 1
    await engine.aclose()
    return [(sent.method, round(sent.at - began, 6)) for sent in transport.received]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
async def test_durations_ignore_wall_time(step: float) -> None:
    assert await requests_with_wall_clock(step) == await requests_with_wall_clock(0.0)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
async def test_deadlines_ignore_wall_time(step: float) -> None:
    readings = count()
    engine = create_engine(
        scripted_transport(error_response(503)), wall=lambda: DAY.timestamp() + step * next(readings)
    )
    assert isinstance(
        await error_from(create_generations(engine, POLL).wait_for("task_1", timeout=50.0)), WaitTimeoutError
    )
    assert now() == pytest.approx(50.0)
    await engine.aclose()


# --- deadlines -------------------------------------------------------------------------------------------------


async def test_deadline_during_a_sleep() -> None:
    service = Service(duration=HOUR)
    engine = create_engine(service.transport)
    error = await error_from(create_generations(engine, POLL).generate("z-image", "A red kite", timeout=10.0))
    assert isinstance(error, WaitTimeoutError)
    assert (error.task_id, error.idempotency_key) == ("task_1", "key-1")
    assert now() == pytest.approx(10.0)
    assert service.transport.keys == ["key-1"]
    await engine.aclose()


async def test_deadline_during_a_poll() -> None:
    transport = ScriptedTransport(lambda sent: job_response("task_1") if sent.method == "POST" else no_response(sent))
    engine = create_engine(transport)
    error = await error_from(create_generations(engine, POLL).generate("z-image", "A red kite", timeout=10.0))
    assert isinstance(error, WaitTimeoutError)
    assert now() == pytest.approx(10.0)
    assert (len(transport.purchases), len(transport.polls)) == (1, 1)
    await engine.aclose()
    assert transport.in_flight == 0


async def test_deadline_does_not_cancel_a_purchase() -> None:
    transport = scripted_transport(job_response("task_1"), latency=30.0)
    engine = create_engine(transport)
    error = await error_from(create_generations(engine, POLL).generate("z-image", "A red kite", timeout=10.0))
    assert isinstance(error, WaitTimeoutError)  # and not lost: it is known by its id
    assert error.task_id == "task_1"
    assert now() == pytest.approx(30.0)
    assert (transport.keys, transport.polls) == (["key-1"], [])
    await engine.aclose()


async def test_deadline_between_attempts_raises_the_last_error() -> None:
    transport = scripted_transport(OutcomeUnknownError("dropped"))
    engine = create_engine(transport, retry=RetryPolicy(base=60.0, cap=60.0), uniform=lambda: 0.9)
    error = await error_from(create_generations(engine, POLL).generate("z-image", "A red kite", timeout=10.0))
    assert isinstance(error, OutcomeUnknownError)
    assert error.idempotency_key == "key-1"
    assert transport.keys == ["key-1"]
    assert now() < 10.0  # no pause is slept whose end comes too late
    await engine.aclose()


async def test_deadline_between_purchase_and_first_poll() -> None:
    service = Service(duration=HOUR)
    engine = create_engine(service.transport)
    error = await error_from(create_generations(engine, POLL).generate("z-image", "A red kite", timeout=0.1))
    assert isinstance(error, WaitTimeoutError)
    assert error.task_id == "task_1"
    assert (service.transport.keys, service.transport.polls) == (["key-1"], [])
    await engine.aclose()


async def test_timeout_of_zero_sends_nothing() -> None:
    service = Service()
    engine = create_engine(service.transport)
    generations = create_generations(engine, POLL)
    for timeout in (0, 0.0, -0.0):
        error = await error_from(generations.generate("z-image", "A red kite", timeout=timeout))
        assert isinstance(error, SubmitTimeoutError)
        assert error.idempotency_key
        assert isinstance(await error_from(generations.wait_for("task_1", timeout=timeout)), WaitTimeoutError)
    assert service.transport.received == []
    await engine.aclose()


@pytest.mark.parametrize("timeout", [-1.0, -1e-9, float("nan"), float("-inf"), True, "5"], ids=str)
async def test_invalid_timeout_sends_nothing(timeout: float) -> None:
    service = Service()
    engine = create_engine(service.transport)
    generations = create_generations(engine, POLL)

    async def watched() -> None:
        async for _ in generations.watch("task_1", timeout=timeout):
            pass

    async def completed() -> None:
        async for _ in generations.as_completed(["task_1"], timeout=timeout):
            pass

    calls = (
        generations.generate("z-image", "A red kite", timeout=timeout, idempotency_key="order-1"),
        generations.wait_for("task_1", timeout=timeout),
        watched(),
        completed(),
    )
    errors = [await error_from(call) for call in calls]
    assert {type(error) for error in errors} == {ConfigurationError}
    assert all("timeout" in str(error) for error in errors)
    assert isinstance(errors[0], ConfigurationError)
    assert errors[0].idempotency_key == "order-1"
    assert service.transport.received == []
    await engine.aclose()


# --- a loop that stands still -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stalled", [5.0, 60.0])
async def test_stalled_loop_causes_no_burst(stalled: float) -> None:
    service = Service(duration=300.0)
    engine = create_engine(service.transport)
    generations = create_generations(engine, POLL)
    jobs = [asyncio.create_task(generations.generate("z-image", f"Kite {n}", timeout=None)) for n in range(50)]
    for _ in range(4):
        await asyncio.sleep(20.0)
        before = len(service.transport.polls)
        running_loop().advance(stalled)
        await settle(50)
        assert len(service.transport.polls) - before <= 50  # one for each job that fell due, however long it stood
    ended = await asyncio.gather(*jobs)
    assert all(each.succeeded for each in ended)
    assert len(service.transport.purchases) == len(set(service.transport.keys)) == 50
    await engine.aclose()


async def test_deadline_in_a_stalled_loop_ends_the_wait() -> None:
    service = Service(duration=HOUR)
    engine = create_engine(service.transport)
    wait = asyncio.create_task(error_from(create_generations(engine, POLL).wait_for(service.sell(), timeout=10.0)))
    await asyncio.sleep(3.0)
    running_loop().advance(30.0)
    error = await wait
    assert isinstance(error, WaitTimeoutError)
    assert now() == pytest.approx(33.0, abs=1.0)
    await engine.aclose()
