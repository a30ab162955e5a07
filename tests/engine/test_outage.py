"""During outages and with failing requests, the load stays bounded and no job is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import pairwise

import pytest

from rivya_async._core.errors import OutcomeUnknownError, RequestNotSentError, RivyaError
from rivya_async._core.limits.rate_controller import MAX_RETRY_TOKENS, RETRIES_PER_RESPONSE, RETRIES_PER_SECOND
from rivya_async._core.policies import PollPolicy, RetryPolicy
from rivya_async._engine.engine import Engine
from rivya_async._engine.hooks import Hooks, RetryDetails
from tests.engine.engine_kit import Service, create_engine, create_generations, error_from, sleep_until
from tests.engine.load_kit import BusyService, Outage
from tests.engine.virtual_time import now

OUTAGES: list[Outage] = ["503", "refused", "hanging"]
POLL = PollPolicy(timeout=None)
PATIENCE = RetryPolicy().max_elapsed


def create_engine_for(service: Service, max_connections: int = 100) -> Engine:
    return create_engine(service.transport, uniform=random.Random(2).random, max_connections=max_connections)


@pytest.mark.parametrize("outage", OUTAGES)
async def test_five_thousand_waits_survive_two_minutes_of_outage(outage: Outage) -> None:
    service = BusyService(duration=60.0, latency=0.05, outage=outage, down=(20.0, 140.0))
    engine = create_engine_for(service)
    ended = [job.id async for job in create_generations(engine).as_completed([service.sell() for _ in range(5000)])]
    assert len(set(ended)) == 5000
    usual, during, after = service.per_second(5, 20), service.per_second(20, 140), service.per_second(140, 300)
    assert sum(during) / 120 < 0.1 * sum(usual) / 15
    known = 2 if outage != "hanging" else 62
    assert max(during[known:]) <= 2  # once it is known, single probes
    assert max(after) <= 1.25 * max(usual[3:])
    first = next(second for second, requests in enumerate(after) if requests)
    assert first <= 12
    climb = after[first : first + 8]
    assert all(later <= 3 * earlier + 30 for earlier, later in pairwise(climb)), climb
    assert now() <= 400
    await engine.aclose()


async def test_poll_intervals_resume_after_an_outage() -> None:
    """No job ends meanwhile: the polls of the open jobs stay as spread as they were."""
    service = BusyService(duration=1e6, latency=0.05, down=(60.0, 180.0))
    engine = create_engine_for(service)
    wait = asyncio.create_task(error_from(collected(service, engine, 1000)))
    await sleep_until(260.0)
    usual, after = service.per_second(30, 60), service.per_second(180, 260)
    assert max(after) <= 1.25 * max(usual)
    assert min(after[25:]) >= 0.3 * min(usual)  # older jobs are polled less often
    await engine.aclose()
    await wait


async def collected(service: Service, engine: Engine, jobs: int) -> list[str]:
    return [job.id async for job in create_generations(engine).as_completed([service.sell() for _ in range(jobs)])]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_submits_wait_for_the_end_of_an_outage(outage: Outage) -> None:
    service = BusyService(outage=outage, down=(0.0, 90.0))
    engine = create_engine_for(service)
    generations = create_generations(engine)
    bought = await asyncio.gather(*(generations.create("z-image", f"Number {n}") for n in range(1000)))
    assert len({job.id for job in bought}) == len(service.sold) == 1000
    assert sum(service.per_second(5, 90)) <= (60 if outage != "hanging" else 160)
    after = service.per_second(90, 130)
    assert max(after) <= 700
    await engine.aclose()


@pytest.mark.parametrize("outage", OUTAGES)
async def test_submits_fail_in_a_long_outage(outage: Outage) -> None:
    service = BusyService(outage=outage, down=(0.0, 1e6))
    engine = create_engine_for(service)
    generations = create_generations(engine)
    keys = [f"order-{n}" for n in range(1000)]
    errors = await asyncio.gather(
        *(error_from(generations.create("z-image", "A red kite", idempotency_key=key)) for key in keys)
    )
    assert PATIENCE <= now() <= PATIENCE + (15 if outage != "hanging" else 180)
    sends = Counter(sent.key for sent in service.transport.purchases)
    for key, error in zip(keys, errors, strict=True):
        in_doubt = outage != "refused" and sends[key]
        assert isinstance(error, OutcomeUnknownError if in_doubt else RequestNotSentError), error
        assert (error.idempotency_key, error.attempts) == (key, sends[key])
    assert len(service.transport.received) <= 250
    came = now()
    late = [asyncio.create_task(error_from(generations.create("z-image", f"Number {n}"))) for n in range(2)]
    turned_away = await late[1]  # the first may go out as a probe
    assert now() == came
    assert isinstance(turned_away, RequestNotSentError)
    assert "down" in str(turned_away)
    await late[0]
    assert service.sold == {}
    await engine.aclose()


async def test_rejected_call_is_not_retried() -> None:
    """The service has been down for longer than its patience: then the end of its pause is its end."""
    service = BusyService(outage="refused", down=(0.0, 1e6))
    retries = RetryRecorder()
    engine = create_engine(service.transport, uniform=random.Random(2).random, hooks=[retries])
    generations = create_generations(engine)
    await asyncio.gather(*(error_from(generations.create("z-image", f"Number {n}")) for n in range(30)))
    assert len(retries.reported) <= len(service.transport.received)
    await engine.aclose()


class RetryRecorder(Hooks):
    def __init__(self) -> None:
        self.reported: list[RetryDetails] = []

    def on_retry(self, details: RetryDetails) -> None:
        self.reported.append(details)


@pytest.mark.parametrize("share", [0.3, 0.5])
async def test_jobs_end_despite_random_failures(share: float) -> None:
    """No wait is lost, no outage is seen, and beyond the usual polls come no more than the budget of retries allows."""
    counts = []
    for fails in (0.0, share):
        service = BusyService(fails=fails)
        engine = create_engine_for(service)
        waits = create_generations(engine).as_completed([service.sell() for _ in range(2000)], poll=POLL)
        ended = set()
        async for job in waits:
            ended.add(job.id)
            assert not engine.wait_registry._executor._limiter.rate_controller.is_down
        assert len(ended) == 2000
        await engine.aclose()
        counts.append(len(service.transport.received))
    usual, faulty = counts
    assert faulty <= usual + MAX_RETRY_TOKENS + RETRIES_PER_SECOND * now() + RETRIES_PER_RESPONSE * faulty


@pytest.mark.parametrize("share", [0.3, 0.5])
async def test_purchases_succeed_despite_random_failures(share: float) -> None:
    """Each job is purchased once, or its error has the key. A repetition with that key purchases nothing twice."""
    service = BusyService(fails=share)
    engine = create_engine_for(service)
    generations = create_generations(engine)
    keys = [f"order-{n}" for n in range(1000)]
    open_keys = keys
    for _ in range(20):
        results = await asyncio.gather(
            *(generations.create("z-image", "A red kite", idempotency_key=key) for key in open_keys),
            return_exceptions=True,
        )
        open_keys = [
            result.idempotency_key for result in results if isinstance(result, RivyaError) and result.idempotency_key
        ]
        assert len(open_keys) == sum(isinstance(result, BaseException) for result in results)
        if not open_keys:
            break
    assert sorted(service.sold) == sorted(keys)
    assert len(service.ends_at) == 1000
    await engine.aclose()
