"""Thousands of concurrent jobs: none is lost or bought twice, memory and load are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rivya_async import (
    BadRequestError,
    Generation,
    GenerationFailedError,
    GenerationRequest,
    IdempotencyConflictError,
    Outcome,
    PollPolicy,
    RetryPolicy,
    RivyaSession,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import (
    FAST,
    POLL,
    SLOW,
    SUBMIT,
    duplicate_purchases,
    open_session,
    task_ids,
    wait_until,
    wait_until_idle,
)

UNHURRIED = PollPolicy(first=1.0, base=0.5, cap=2.0, floor=0.2, timeout=600.0)


async def test_gather_ten_thousand_jobs(sandbox: Sandbox) -> None:
    async with open_session(sandbox, poll=UNHURRIED) as session:
        jobs = await asyncio.gather(*(session.generate("z-image", f"Poster {n}") for n in range(10_000)))
    assert len(task_ids(jobs)) == 10_000
    assert all(job.succeeded for job in jobs)
    assert sandbox.request_log.purchases == len(sandbox.request_log.idempotency_keys) == 10_000
    assert sandbox.request_log.count(SUBMIT) == 10_000
    assert sandbox.request_log.count(POLL) == 10_000
    assert sandbox.request_log.peak_in_flight <= 100
    assert not duplicate_purchases(sandbox)


async def test_two_thousand_jobs_under_faults() -> None:
    patient = RetryPolicy(max_attempts=12, base=0.01, cap=0.2)
    async with Sandbox(speed=50.0, seed=7) as sandbox:
        for route in (SUBMIT, POLL):
            sandbox.faults.add(route=route, rate=0.0125, drop=True)
            sandbox.faults.add(route=route, rate=0.0125, drop=True, act=True)
            sandbox.faults.add(route=route, rate=0.0125, status=502, body="<html>Bad gateway</html>")
            sandbox.faults.add(route=route, rate=0.0125, status=502, body="<html>Bad gateway</html>", act=True)
        async with open_session(sandbox, poll=UNHURRIED, retry=patient) as session:
            jobs = await asyncio.gather(*(session.generate("z-image", f"Poster {n}") for n in range(2_000)))
        assert len(task_ids(jobs)) == 2_000
        assert all(job.succeeded for job in jobs)
        assert set(sandbox.service_state.tasks) == task_ids(jobs)
        assert sandbox.request_log.purchases == len(sandbox.request_log.idempotency_keys) == 2_000
        assert sandbox.request_log.count(SUBMIT) > 2_050
        assert not duplicate_purchases(sandbox)


async def test_as_completed_thousand_task_ids(sandbox: Sandbox) -> None:
    async with open_session(sandbox) as buyer:
        jobs = await asyncio.gather(*(buyer.submit("z-image", f"Poster {n}") for n in range(1_000)))
    async with open_session(sandbox) as session:
        ended = [job.id async for job in session.as_completed([job.id for job in jobs])]
    assert len(ended) == len(set(ended)) == 1_000
    assert set(ended) == task_ids(jobs)
    assert sandbox.request_log.peak_in_flight <= 100


async def test_many_429_cause_no_retry_storm() -> None:
    async with Sandbox(speed=FAST) as sandbox:
        sandbox.faults.add(route=SUBMIT, status=429, retry_after=0.2, times=22)
        async with open_session(sandbox, max_connections=20, poll=UNHURRIED) as session:
            jobs = await asyncio.gather(*(session.generate("z-image", f"Poster {n}") for n in range(20)))
        assert len(task_ids(jobs)) == 20
        assert sandbox.request_log.count(SUBMIT) == 42
        assert not duplicate_purchases(sandbox)


# --- map --------------------------------------------------------------------------------------------------------------


class Source:
    """A long source that counts the items taken from it."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.taken = 0
        self.closed = False

    async def __call__(self) -> AsyncIterator[GenerationRequest]:
        try:
            for n in range(self.length):
                self.taken += 1
                yield GenerationRequest("z-image", f"Poster {n}")
        finally:
            self.closed = True


async def test_map_reads_source_up_to_limit(session: RivyaSession, sandbox: Sandbox) -> None:
    source = Source(3_000)
    done = 0
    async for outcome in session.map(source(), max_in_flight=50):
        assert outcome.ok
        done += 1
        assert source.taken - done <= 50
    assert (done, source.taken, source.closed) == (3_000, 3_000, True)
    assert sandbox.request_log.purchases == 3_000
    assert sandbox.request_log.peak_in_flight <= 50


async def test_map_waits_for_slow_reader(session: RivyaSession, sandbox: Sandbox) -> None:
    source = Source(1_000)
    outcomes = session.map(source(), max_in_flight=7)
    first = await anext(outcomes)
    assert first.ok
    await asyncio.sleep(0.2)
    assert source.taken <= 8
    assert sandbox.request_log.purchases <= 8
    await outcomes.aclose()


async def test_map_ordered(session: RivyaSession) -> None:
    requests = [GenerationRequest("z-image", f"Poster {n}") for n in range(200)]
    outcomes = [outcome async for outcome in session.map(requests, max_in_flight=20, ordered=True)]
    assert [outcome.request for outcome in outcomes] == requests


async def test_map_continues_after_failures(session: RivyaSession) -> None:
    requests: list[Any] = [GenerationRequest("z-image", f"Poster {n}") for n in range(20)]
    requests[3] = GenerationRequest("no-such-model", "Poster")
    requests[7] = GenerationRequest("z-image", "Poster [fail]")
    requests[9] = GenerationRequest("z-image", "Poster", idempotency_key="order-1")
    requests[10] = GenerationRequest("z-image", "Another", idempotency_key="order-1")
    requests[11] = "A red kite"
    outcomes = [outcome async for outcome in session.map(requests, ordered=True, max_in_flight=1)]
    kinds = {n: type(outcome.error) for n, outcome in enumerate(outcomes) if not outcome.ok}
    assert kinds.pop(3) is BadRequestError
    assert kinds.pop(7) is GenerationFailedError
    assert kinds.pop(10) is IdempotencyConflictError
    assert kinds.keys() <= {11}
    assert outcomes[7].generation is not None
    assert outcomes[7].generation.failed
    with pytest.raises(GenerationFailedError):
        outcomes[7].unwrap()
    assert outcomes[0].unwrap().succeeded


async def test_abandoned_map_cancels_jobs() -> None:
    async with Sandbox(speed=SLOW) as sandbox, open_session(sandbox) as session:
        source = Source(1_000)
        outcomes = session.map(source(), max_in_flight=10)
        first = asyncio.ensure_future(anext(outcomes))
        await wait_until(lambda: sandbox.request_log.purchases == 10)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await outcomes.aclose()
        await wait_until_idle(sandbox)
        polls = sandbox.request_log.count(POLL)
        await asyncio.sleep(0.1)
        assert sandbox.request_log.count(POLL) == polls
        assert sandbox.request_log.purchases == 10


async def test_source_error_follows_outcomes(session: RivyaSession) -> None:
    def source() -> Any:
        for n in range(5):
            yield GenerationRequest("z-image", f"Poster {n}")
        raise ZeroDivisionError

    outcomes: list[Outcome] = []

    async def collect() -> None:
        async for outcome in session.map(source()):
            outcomes.append(outcome)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ZeroDivisionError):
        await collect()
    assert len(outcomes) == 5
    assert all(outcome.ok for outcome in outcomes)


async def test_map_of_slow_source(session: RivyaSession) -> None:
    queue: asyncio.Queue[GenerationRequest | None] = asyncio.Queue()

    async def source() -> AsyncIterator[GenerationRequest]:
        while (item := await queue.get()) is not None:
            yield item

    outcomes = session.map(source(), max_in_flight=3)
    ended: list[Generation] = []
    for n in range(10):
        queue.put_nowait(GenerationRequest("z-image", f"Poster {n}"))
        ended.append((await anext(outcomes)).unwrap())
    queue.put_nowait(None)
    assert [outcome async for outcome in outcomes] == []
    assert len(task_ids(ended)) == 10


async def test_map_of_empty_source(session: RivyaSession) -> None:
    assert [outcome async for outcome in session.map([])] == []
