"""A session that has seen jobs end places its polls where jobs like them end."""

from __future__ import annotations

import asyncio
import json
import random
from statistics import mean

import attrs
import pytest

from rivya_async._core.errors import RivyaError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from tests.engine.engine_kit import engine_over, failure_of, generations_of, until
from tests.engine.load_kit import BusyService
from tests.engine.virtual_time import now, running_loop


@attrs.frozen
class Cost:
    polls_per_job: float
    latency: float
    busiest_second: int = attrs.field(eq=False)  # where a second begins is a matter of rounding


async def cost_of(
    jobs: int,
    *,
    adaptive: bool = True,
    durations: DurationEstimator | None = None,
    sigma: float = 0.3,
    own: bool = True,
) -> Cost:
    service = BusyService(duration=40.0, sigma=sigma, seed=jobs)
    engine = engine_over(service.transport, uniform=random.Random(5).random, durations=durations)
    generations = generations_of(engine, PollPolicy(adaptive=adaptive))
    began = now()

    async def generate(n: int) -> None:
        if own:
            ended = await generations.generate(GenerationRequest("z-image", f"Number {n}"))
        else:
            ended = await generations.wait_for(service.sell())
        service.saw_end(ended.id)

    await asyncio.gather(*(generate(n) for n in range(jobs)))
    await engine.aclose()
    polls = service.transport.polls
    busiest = max(service.per_second(began, now(), polls))
    return Cost(len(polls) / jobs, round(mean(service.latencies), 6), busiest)


async def test_a_warm_session_polls_less_and_sees_ends_sooner() -> None:
    fixed = await cost_of(300, adaptive=False)
    durations = DurationEstimator()
    await cost_of(100, durations=durations)
    warm = await cost_of(300, durations=durations)
    assert warm.polls_per_job <= 0.6 * fixed.polls_per_job
    assert warm.latency <= 0.75 * fixed.latency


async def test_what_was_learned_goes_to_another_process() -> None:
    first = DurationEstimator()
    await cost_of(100, durations=first)
    second = DurationEstimator()
    second.load(json.loads(json.dumps(first.dump())))
    here, there = await cost_of(200, durations=first), await cost_of(200, durations=second)
    fixed = await cost_of(200, adaptive=False)
    assert there.polls_per_job == pytest.approx(here.polls_per_job, rel=0.1)
    assert there.polls_per_job <= 0.6 * fixed.polls_per_job


async def test_without_adaptive_what_was_learned_changes_nothing() -> None:
    durations = DurationEstimator()
    await cost_of(50, durations=durations)
    assert await cost_of(100, adaptive=False, durations=durations) == await cost_of(100, adaptive=False)


async def test_jobs_of_others_whose_age_nobody_knows_are_polled_by_the_policy() -> None:
    durations = DurationEstimator()
    await cost_of(50, durations=durations)
    assert await cost_of(100, own=False, durations=durations) == await cost_of(100, own=False, adaptive=False)


async def test_an_end_that_is_seen_of_another_sessions_job_is_learned_all_the_same() -> None:
    durations = DurationEstimator()
    await cost_of(50, own=False, durations=durations)
    warm = await cost_of(100, durations=durations)
    assert warm.polls_per_job <= 0.6 * (await cost_of(100, adaptive=False)).polls_per_job


@pytest.mark.parametrize("is_warm", [False, True])
async def test_many_jobs_that_begin_at_once_are_not_polled_at_once(is_warm: bool) -> None:
    durations = DurationEstimator()
    if is_warm:
        await cost_of(50, durations=durations)
    service = BusyService(duration=1e6)
    engine = engine_over(
        service.transport, uniform=random.Random(5).random, durations=durations, max_connections=10_000
    )
    generations = generations_of(engine)
    waits = [
        asyncio.create_task(failure_of(generations.generate(GenerationRequest("z-image", f"Number {n}"))))
        for n in range(10_000)
    ]
    began = now()
    await until(began + 8.0)
    tenths = [0] * 150
    for sent in service.transport.polls:
        tenths[int((sent.at - began) * 10)] += 1
    assert max(tenths) <= 1500
    await engine.aclose()
    await asyncio.gather(*waits)


async def test_a_fault_of_ours_after_an_answer_ends_the_wait_and_is_reported() -> None:
    """Not for ever open, without a poll."""

    class Broken(DurationEstimator):
        def observe(self, group: str, seconds: float, since: float = 0.0) -> None:
            raise ZeroDivisionError(group)

    service = BusyService(duration=5.0)
    engine = engine_over(service.transport, durations=Broken())
    error = await failure_of(generations_of(engine).wait_for(service.sell(), timeout=None))
    assert isinstance(error, RivyaError)
    assert "ZeroDivisionError" in str(error)
    assert [report["message"] for report in running_loop().reported] == ["polling task_1 failed unexpectedly"]
    running_loop().reported.clear()
    await engine.aclose()
