"""The limit of running jobs in virtual time: the numbers and times of the purchases and polls that are sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rivya_async._core.errors import NotFoundError, RateLimitError, RivyaError, SubmitTimeoutError
from rivya_async._core.http.messages import Request
from rivya_async._core.policies import PollPolicy, RateLimit, RetryPolicy
from rivya_async._engine.engine import Engine
from rivya_async._engine.hooks import Hooks, WaitDetails
from rivya_async.resources.generations import Generations
from tests.engine.engine_kit import (
    Reply,
    ScriptedTransport,
    cancel,
    create_engine,
    create_generations,
    error_from,
    error_response,
    job_response,
    no_response,
)
from tests.engine.virtual_time import now, settle

POLL = PollPolicy(first=1, base=1, cap=1, floor=1, adaptive=False)


class LimitedService:
    """A service that runs at most `limit` jobs, each for `duration` seconds. Other sessions run `foreign` jobs."""

    def __init__(self, limit: int, *, duration: float = 10.0, foreign: int = 0, latency: float = 0.1) -> None:
        self.limit = limit
        self.duration = duration
        self.foreign = foreign
        self.transport = ScriptedTransport(self.answer, latency=latency)
        self.ends_at: dict[str, float] = {}
        self.rejected: list[float] = []

    def answer(self, request: Request) -> Reply:
        if request.method == "GET":
            task_id = request.path.rpartition("/")[2]
            return job_response(task_id, "succeeded" if now() >= self.ends_at[task_id] else "processing")
        if self.foreign + sum(now() < end for end in self.ends_at.values()) >= self.limit:
            self.rejected.append(now())
            return error_response(429, "rate_limited")
        task_id = f"task_{len(self.ends_at)}"
        self.ends_at[task_id] = now() + self.duration
        return job_response(task_id)


def open_service(service: LimitedService, **options: Any) -> tuple[Engine, Generations]:
    engine = create_engine(service.transport, **options)
    return engine, create_generations(engine, POLL, knows_open_jobs=True)


def start(generations: Generations, count: int, **options: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(generations.generate("z-image", str(n), **options)) for n in range(count)]


@pytest.mark.parametrize("rate_limit", [None, RateLimit(10, burst=5)])
async def test_purchases_in_the_request_queue_are_not_sent_once_the_limit_is_known(
    rate_limit: RateLimit | None,
) -> None:
    service = LimitedService(2)
    engine, generations = open_service(service, max_connections=5, rate_limit=rate_limit)
    jobs = start(generations, 300)
    await asyncio.sleep(5)
    assert len(service.rejected) <= 4 + 3  # on the wire, and probes
    await cancel(*jobs)
    await engine.aclose()


async def test_every_purchase_is_sent_when_a_job_has_ended() -> None:
    service = LimitedService(2)
    engine, generations = open_service(service)
    done = await asyncio.gather(*start(generations, 20))
    assert len({job.id for job in done}) == 20
    assert now() < 10 * (service.duration + 3)  # ten pairs, each followed by a poll and a purchase
    await engine.aclose()


async def test_job_that_does_not_exist_is_not_waited_for() -> None:
    service = LimitedService(1, duration=1e9)
    engine, generations = open_service(service)
    lost = await generations.submit("z-image", "1")

    def answer(request: Request) -> Reply:
        return error_response(404, "not_found") if request.method == "GET" else LimitedService.answer(service, request)

    service.transport.answer = answer
    error = await error_from(generations.submit("z-image", "2"))
    assert isinstance(error, RateLimitError)
    assert (error.status, error.code) == (429, "rate_limited")
    assert "No job of this session is open" in str(error)
    assert [job.task_id for job in generations._jobs.preflight.open_jobs] == [lost.id]
    assert isinstance(await error_from(generations.wait_for(lost)), NotFoundError)
    await engine.aclose()


async def test_slow_poll_of_an_awaited_job_is_not_repeated_at_each_try() -> None:
    service = LimitedService(1, duration=1e9)
    engine, generations = open_service(service, retry=RetryPolicy(base=1, cap=1))
    await generations.submit("z-image", "1")

    async def answer(request: Request) -> Reply:
        return await no_response(request) if request.method == "GET" else service.answer(request)

    service.transport.answer = answer
    waiting = asyncio.create_task(generations.submit("z-image", "2"))
    await asyncio.sleep(30)
    assert len(service.rejected) > 20
    assert len(service.transport.polls) == 1
    assert service.transport.cancelled == 0
    await cancel(waiting)
    service.transport.answer = service.answer
    await engine.aclose()


async def test_polls_end_with_the_last_waiting_purchase() -> None:
    service = LimitedService(1, duration=1e9)
    engine, generations = open_service(service)
    await generations.submit("z-image", "1")
    waiting = [asyncio.create_task(generations.submit("z-image", "2")) for _ in range(3)]
    await asyncio.sleep(20)
    await cancel(*waiting)
    await asyncio.sleep(1)
    polls = len(service.transport.polls)
    assert polls > 5
    await asyncio.sleep(20)
    assert len(service.transport.polls) == polls
    await engine.aclose()


async def test_internal_polls_report_no_wait() -> None:
    waits: list[WaitDetails] = []

    class Recorder(Hooks):
        def on_wait(self, details: WaitDetails) -> None:
            waits.append(details)

    service = LimitedService(1)
    engine, generations = open_service(service, hooks=[Recorder()])
    await generations.submit("z-image", "1")
    await generations.submit("z-image", "2")
    assert waits == []
    await engine.aclose()


@pytest.mark.parametrize("count", [1, 20])
async def test_session_without_jobs_waits_for_the_jobs_of_others(count: int) -> None:
    service = LimitedService(2, duration=1, foreign=2)
    engine, generations = open_service(service)
    jobs = start(generations, count, timeout=300)
    await asyncio.sleep(60)
    assert not any(job.done() for job in jobs)
    assert len(service.rejected) <= count + 10
    service.foreign = 0
    done = await asyncio.gather(*jobs)
    assert len({job.id for job in done}) == count
    await engine.aclose()


async def test_session_whose_last_job_has_ended_goes_on_waiting() -> None:
    service = LimitedService(2, duration=5, foreign=1)
    engine, generations = open_service(service)
    jobs = start(generations, 5, timeout=300)
    await asyncio.sleep(3)
    service.foreign = 2
    await asyncio.sleep(60)
    assert len(service.ends_at) == 1
    service.foreign = 0
    await asyncio.gather(*jobs)
    await engine.aclose()


@pytest.mark.parametrize("count", [1, 20])
async def test_retry_policy_bounds_the_wait_for_the_jobs_of_others(count: int) -> None:
    service = LimitedService(1, foreign=1)
    engine, generations = open_service(service)
    submits = [asyncio.create_task(generations.submit("z-image", str(n))) for n in range(count)]
    errors = [await error_from(submit) for submit in submits]
    assert all(isinstance(error, RateLimitError) and error.code == "rate_limited" for error in errors)
    assert len({error.idempotency_key for error in errors if isinstance(error, RivyaError)}) == count
    assert len(service.rejected) == 5 * count  # each by its retry policy, since nothing shows a limit of jobs
    assert now() < 121

    began = now()
    error = await error_from(generations.generate("z-image", "1", timeout=1000))
    assert isinstance(error, RateLimitError)
    assert "try again when some have ended" in str(error)
    assert 60 < now() - began <= 150  # max_elapsed, and the pause that the last 429 has begun
    await engine.aclose()


async def test_single_attempt_is_not_repeated_without_open_jobs() -> None:
    service = LimitedService(1, foreign=1)
    engine, generations = open_service(service, retry=RetryPolicy(max_attempts=1))
    assert isinstance(await error_from(generations.generate("z-image", "1", timeout=1000)), RateLimitError)
    assert len(service.rejected) == 1
    await engine.aclose()


async def test_timeout_names_the_last_answer() -> None:
    service = LimitedService(1, foreign=1)
    engine, generations = open_service(service)
    error = await error_from(generations.generate("z-image", "1", timeout=20))
    assert isinstance(error, SubmitTimeoutError)
    assert "rate_limited" in str(error)
    assert isinstance(error.__cause__, RateLimitError)
    assert now() == pytest.approx(20)
    await engine.aclose()


async def test_cancelled_purchases_leave_the_queue() -> None:
    service = LimitedService(1, duration=1e9)
    engine, generations = open_service(service)
    await generations.submit("z-image", "1")
    waiting = [asyncio.create_task(generations.submit("z-image", "2")) for _ in range(10)]
    await asyncio.sleep(5)
    await cancel(*waiting)
    await settle()
    assert not engine.purchase_queue._queue
    assert engine.purchase_queue._in_flight == 0
    await engine.aclose()
