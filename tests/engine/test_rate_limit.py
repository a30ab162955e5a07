"""More jobs than the rate limit allows: the limit is found, kept and used, and no job starves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from statistics import mean

import pytest

from rivya_async._core.errors import SessionClosedError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.policies import PollPolicy, RateLimit
from rivya_async._engine.engine import Engine
from rivya_async.resources.generations import Generations
from tests.engine.engine_kit import cancel, create_engine, create_generations, error_from, sleep_until
from tests.engine.load_kit import BusyService
from tests.engine.virtual_time import now


def create_engine_for(
    service: BusyService, rate_limit: RateLimit | None = None, uniform: Callable[[], float] | None = None
) -> Engine:
    return create_engine(service.transport, uniform=uniform or random.Random(2).random, rate_limit=rate_limit)


async def generate_all(service: BusyService, jobs: int, rate_limit: RateLimit | None = None) -> float:
    """Buy and wait for so many jobs at once; when 95 % of them had ended."""
    engine = create_engine_for(service, rate_limit)
    generations = create_generations(engine)
    ends = []

    async def generate(n: int) -> None:
        ended = await generations.generate(GenerationRequest("z-image", f"Poster number {n}"))
        service.saw_end(ended.id)
        ends.append(now())

    await asyncio.gather(*(generate(n) for n in range(jobs)))
    await engine.aclose()
    assert len(set(service.sold.values())) == len(service.sold) == jobs
    return sorted(ends)[int(0.95 * jobs) - 1]


def used_share(service: BusyService, end: float) -> float:
    """The share of the limit that was used."""
    assert service.limit is not None
    return sum(sent.at <= end for sent in service.transport.received) / (end * service.limit / service.window)


def latest_poll(service: BusyService, begin: float, end: float) -> float:
    """The longest interval between two polls of one job within these seconds."""
    return max(max(gaps, default=0.0) for gaps in service.gaps(begin, end).values())


@pytest.mark.parametrize(
    ("rate_limit", "most_refused", "least_used"),
    [(None, 0.02, 0.9), (RateLimit(98), 0.003, 0.88), (RateLimit(98, burst=1), 0.0, 0.95)],
    ids=["learned", "configured", "without a burst"],
)
async def test_limit_per_second_is_kept_and_used(
    rate_limit: RateLimit | None, most_refused: float, least_used: float
) -> None:
    """A job waits its interval and, beyond that, at most for all others to be polled once at the rate there is.

    While submits flood, that rate is a fifth of the limit; 429s are too few to hold anybody for long.
    """
    service = BusyService(limit=100)
    most_ended = await generate_all(service, 2000, rate_limit)
    assert len(service.refused) <= most_refused * len(service.transport.received)
    assert used_share(service, most_ended) >= least_used
    flooded = max(sent.at for sent in service.transport.purchases)
    longest_interval = PollPolicy().cap + 2.0
    waited_for = len(service.ends_at)
    assert latest_poll(service, 0.0, flooded) <= longest_interval + waited_for / (0.2 * 100)
    assert latest_poll(service, flooded, now()) <= longest_interval + waited_for / 100


@pytest.mark.parametrize(("limit", "jobs"), [(600, 1500), (60, 120)])
@pytest.mark.parametrize(
    ("sends_retry_after", "is_known", "most_refused"),
    [(True, True, 0.0), (True, False, 0.25), (False, True, 0.0), (False, False, 0.35)],
)
async def test_every_job_ends_under_limit_per_minute(
    limit: int, jobs: int, sends_retry_after: bool, is_known: bool, most_refused: float
) -> None:
    service = BusyService(limit=limit, window=60.0, sends_retry_after=sends_retry_after)
    most_ended = await generate_all(service, jobs, RateLimit(limit / 60) if is_known else None)
    assert len(service.refused) <= most_refused * len(service.transport.received)
    assert used_share(service, most_ended) >= 0.98


def fixed_interval(seconds: float) -> PollPolicy:
    """Returns a policy with a fixed interval, if random numbers are 0."""
    return PollPolicy(first=seconds, base=seconds, cap=seconds, floor=seconds, timeout=None)


async def wait_later(at: float, generations: Generations, task_id: str, poll: PollPolicy) -> None:
    await sleep_until(at)
    with suppress(SessionClosedError):
        await generations.wait_for(task_id, poll=poll)


async def test_overload_stretches_all_intervals_equally() -> None:
    service = BusyService(duration=1e6)
    engine = create_engine_for(service, RateLimit(40), uniform=lambda: 0.0)
    generations = create_generations(engine)
    groups = {seconds: [service.sell(f"every_{seconds:g}_{n}") for n in range(400)] for seconds in (5.0, 8.0, 20.0)}
    waits = [
        asyncio.create_task(
            wait_later(service.random.uniform(0.0, 60.0), generations, task_id, fixed_interval(seconds))
        )
        for seconds, group in groups.items()
        for task_id in group
    ]
    await sleep_until(400.0)
    stretch = sum(len(group) / seconds for seconds, group in groups.items()) / 40
    gaps = service.gaps(100.0, 400.0)
    for seconds, group in groups.items():
        means = [mean(gaps[task_id]) for task_id in group]
        assert mean(means) == pytest.approx(stretch * seconds, rel=0.15)
        assert max(means) <= 1.3 * stretch * seconds
    assert sum(service.per_second(100.0, 400.0)) / 300 == pytest.approx(40.0, rel=0.02)
    await engine.aclose()
    await asyncio.gather(*waits)


async def test_no_interval_is_stretched_below_the_limit() -> None:
    service = BusyService(duration=1e6)
    engine = create_engine_for(service, RateLimit(40), uniform=lambda: 0.0)
    generations = create_generations(engine)
    waits = [
        asyncio.create_task(
            wait_later(service.random.uniform(0.0, 5.0), generations, service.sell(), fixed_interval(5.0))
        )
        for _ in range(150)
    ]
    await sleep_until(200.0)
    gaps = service.gaps(20.0)
    assert mean(mean(gap) for gap in gaps.values()) == pytest.approx(5.0, rel=0.03)
    await engine.aclose()
    await asyncio.gather(*waits)


async def test_submits_precede_polls_which_get_a_fifth() -> None:
    service = BusyService(duration=1e6)
    engine = create_engine_for(service, RateLimit(50))
    generations = create_generations(engine)
    waits = [
        asyncio.create_task(wait_later(0.0, generations, service.sell(), fixed_interval(5.0))) for _ in range(1000)
    ]
    await sleep_until(30.0)
    flood = [asyncio.create_task(error_from(generations.create("z-image", f"Number {n}"))) for n in range(5000)]
    await sleep_until(90.0)
    for received, share in ((service.transport.purchases, 0.8), (service.transport.polls, 0.2)):
        assert sum(service.per_second(31.0, 90.0, received)) / 59 == pytest.approx(50.0 * share, rel=0.03)
    await cancel(*flood)
    await engine.aclose()
    await asyncio.gather(*waits)
