"""A session with a history of durations places its polls where similar jobs ended."""

from __future__ import annotations

import asyncio
import json
import random
from statistics import mean
from typing import Any

import attrs
import pytest

from rivya_async._core.errors import RivyaError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from tests.engine.engine_kit import create_engine, create_generations, error_from, sleep_until
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
    engine = create_engine(service.transport, uniform=random.Random(5).random, durations=durations)
    generations = create_generations(engine, PollPolicy(adaptive=adaptive))
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


async def test_history_reduces_polls_and_latency() -> None:
    fixed = await cost_of(300, adaptive=False)
    durations = DurationEstimator()
    await cost_of(100, durations=durations)
    warm = await cost_of(300, durations=durations)
    assert warm.polls_per_job <= 0.6 * fixed.polls_per_job
    assert warm.latency <= 0.75 * fixed.latency


async def test_history_is_transferable() -> None:
    first = DurationEstimator()
    await cost_of(100, durations=first)
    second = DurationEstimator()
    second.load(json.loads(json.dumps(first.dump())))
    here, there = await cost_of(200, durations=first), await cost_of(200, durations=second)
    fixed = await cost_of(200, adaptive=False)
    assert there.polls_per_job == pytest.approx(here.polls_per_job, rel=0.1)
    assert there.polls_per_job <= 0.6 * fixed.polls_per_job


async def test_history_is_ignored_without_adaptive() -> None:
    durations = DurationEstimator()
    await cost_of(50, durations=durations)
    assert await cost_of(100, adaptive=False, durations=durations) == await cost_of(100, adaptive=False)


async def test_jobs_of_unknown_age_follow_the_policy() -> None:
    durations = DurationEstimator()
    await cost_of(50, durations=durations)
    assert await cost_of(100, own=False, durations=durations) == await cost_of(100, own=False, adaptive=False)


async def test_learns_from_foreign_jobs() -> None:
    durations = DurationEstimator()
    await cost_of(50, own=False, durations=durations)
    warm = await cost_of(100, durations=durations)
    assert warm.polls_per_job <= 0.6 * (await cost_of(100, adaptive=False)).polls_per_job


@pytest.mark.parametrize("is_warm", [False, True])
async def test_polls_of_simultaneous_jobs_spread(is_warm: bool) -> None:
    durations = DurationEstimator()
    if is_warm:
        await cost_of(50, durations=durations)
    service = BusyService(duration=1e6)
    engine = create_engine(
        service.transport, uniform=random.Random(5).random, durations=durations, max_connections=10_000
    )
    generations = create_generations(engine)
    waits = [
        asyncio.create_task(error_from(generations.generate(GenerationRequest("z-image", f"Number {n}"))))
        for n in range(10_000)
    ]
    began = now()
    await sleep_until(began + 8.0)
    tenths = [0] * 150
    for sent in service.transport.polls:
        tenths[int((sent.at - began) * 10)] += 1
    assert max(tenths) <= 1500
    await engine.aclose()
    await asyncio.gather(*waits)


async def test_internal_error_after_a_poll_ends_the_wait() -> None:
    """Not for ever open, without a poll."""

    class Broken(DurationEstimator):
        def observe_end(self, group: str, *args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError(group)

    service = BusyService(duration=5.0)
    engine = create_engine(service.transport, durations=Broken())
    error = await error_from(create_generations(engine).wait_for(service.sell(), timeout=None))
    assert isinstance(error, RivyaError)
    assert "ZeroDivisionError" in str(error)
    assert [report["message"] for report in running_loop().reported] == ["polling task_1 failed unexpectedly"]
    running_loop().reported.clear()
    await engine.aclose()
