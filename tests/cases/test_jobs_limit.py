"""A limit of running jobs: purchases wait for the end of a job, in every way to buy one (C10)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from rivya_async import (
    GenerationRequest,
    OutcomeUnknownError,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    SessionClosedError,
    SubmitTimeoutError,
)
from rivya_async.batch import Batch, Row
from rivya_async.sandbox import Sandbox
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import running_worker

SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
FAST = PollPolicy(first=0.02, base=0.05, cap=0.1, floor=0.02)
JOBS = 20


def session_for(sandbox: Sandbox, **options: Any) -> RivyaSession:
    settings: dict[str, Any] = {"poll": FAST, "retry": RetryPolicy(base=0.1, cap=2.0), **options}
    return RivyaSession(sandbox.api_key, base_url=sandbox.base_url, **settings)


def rejections(sandbox: Sandbox) -> int:
    return sum(request.route == SUBMIT and request.status == 429 for request in sandbox.request_log)


async def wait_for_rejection(sandbox: Sandbox) -> None:
    async with asyncio.timeout(60):
        while not rejections(sandbox):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("retry_after", [None, "1", "0"])
async def test_no_gathered_job_fails(limit: int, retry_after: str | None) -> None:
    async with Sandbox(speed=50, max_running_jobs=limit) as sandbox, session_for(sandbox) as session:
        if retry_after is not None:
            sandbox.faults.add(route=SUBMIT, retry_after=retry_after)
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(JOBS)))
        assert all(job.succeeded for job in jobs)
        assert sandbox.request_log.purchases == len({job.id for job in jobs}) == JOBS


async def test_purchases_that_wait_send_nothing() -> None:
    async with Sandbox(speed=0.5, max_running_jobs=2) as sandbox, session_for(sandbox) as session:
        for n in range(2):
            await session.submit("z-image", f"Kite {n}")
        waiting = [asyncio.create_task(session.submit("z-image", f"Kite {n}")) for n in range(2, JOBS)]
        await wait_for_rejection(sandbox)
        polls = sandbox.request_log.count(POLL)
        async with asyncio.timeout(60):
            while sandbox.request_log.count(POLL) < polls + 20:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.05)
        sent = sandbox.request_log.count(SUBMIT)
        assert sent < 2 * JOBS  # each once, and one of them again now and then
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
        assert session.spend.reserved == 2


@pytest.mark.parametrize("cancelled", [2, 10])
async def test_cancelled_purchase_does_not_block_the_others(cancelled: int) -> None:
    async with Sandbox(speed=20, max_running_jobs=2) as sandbox, session_for(sandbox) as session:
        tasks = [asyncio.create_task(session.generate("z-image", f"Kite {n}")) for n in range(JOBS)]
        await wait_for_rejection(sandbox)
        for task in tasks[-cancelled:]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(not isinstance(each, BaseException) for each in ended) >= JOBS - cancelled
        assert not any(isinstance(each, RivyaError) for each in ended)


async def test_closing_ends_waiting_purchases() -> None:
    async with Sandbox(speed=0.01, max_running_jobs=1) as sandbox:
        session = session_for(sandbox)
        async with session:
            await session.submit("z-image", "Kite")
            waiting = [asyncio.create_task(session.submit("z-image", f"Kite {n}")) for n in range(5)]
            await wait_for_rejection(sandbox)
        async with asyncio.timeout(30):
            ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in ended] == [SessionClosedError] * 5
        assert sandbox.request_log.purchases == 1


async def test_timeout_ends_a_waiting_purchase() -> None:
    async with Sandbox(speed=0.01, max_running_jobs=1) as sandbox, session_for(sandbox) as session:
        await session.submit("z-image", "Kite")
        waits = (session.generate("z-image", f"Kite {n}", timeout=1.0) for n in range(5))
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(each) for each in ended] == [SubmitTimeoutError] * 5
        assert (sandbox.request_log.purchases, session.spend.total) == (1, 1)


async def test_sessions_of_one_account_share_the_limit() -> None:
    async with Sandbox(speed=50, max_running_jobs=2) as sandbox, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(session_for(sandbox)) for _ in range(4)]
        jobs = await asyncio.gather(
            *(session.generate("z-image", f"Kite {n}") for n in range(JOBS // 4) for session in sessions)
        )
        assert len({job.id for job in jobs}) == JOBS


async def test_end_that_a_webhook_reports_admits_the_next_purchase() -> None:
    slow = PollPolicy(first=600, base=600, cap=600, floor=600, adaptive=False)
    async with (
        Sandbox(speed=50, max_running_jobs=1) as sandbox,
        session_for(sandbox, poll=slow) as session,
        session_for(sandbox) as other,
    ):
        first = await session.submit("z-image", "Kite")
        sandbox.service_state.max_running_jobs = 0  # so that no other try succeeds
        waiting = asyncio.create_task(session.submit("z-image", "Whale"))
        await wait_for_rejection(sandbox)
        ended = await other.wait_for(first.id)
        sandbox.service_state.max_running_jobs = 1
        session.generations.settle(ended)
        await asyncio.wait_for(waiting, 60)
        assert [job.model for job in session.open_jobs] == ["z-image"]


async def test_limit_of_requests_is_no_limit_of_jobs() -> None:
    """Purchases go on as soon as the service accepts one again, without the end of a job."""
    async with Sandbox(speed=0.01) as sandbox, session_for(sandbox) as session:
        await session.submit("z-image", "Kite")
        sandbox.faults.add(status=429, times=6)
        async with asyncio.timeout(60):
            await asyncio.gather(*(session.submit("z-image", f"Kite {n}") for n in range(5)))
        assert len(session.open_jobs) == 6
        sandbox.faults.add(status=429)
        waiting = session.submit("z-image", "Kite")
        polling = asyncio.create_task(session.wait_for(session.open_jobs[0].task_id))
        with pytest.raises(RateLimitError):
            await asyncio.wait_for(waiting, 60)
        polling.cancel()


async def test_map_waits() -> None:
    async with Sandbox(speed=50, max_running_jobs=2) as sandbox, session_for(sandbox) as session:
        requests = (GenerationRequest("z-image", f"Kite {n}") for n in range(JOBS))
        assert [outcome.ok async for outcome in session.map(requests)] == [True] * JOBS


async def test_batch_waits(tmp_path: Path) -> None:
    async with (
        Sandbox(speed=50, max_running_jobs=2) as sandbox,
        session_for(sandbox) as session,
        Batch.open(tmp_path / "kites.journal") as batch,
    ):
        await batch.add(Row(number=n, line=n, model="z-image", prompt=f"Kite {n}") for n in range(1, JOBS + 1))
        records = [record async for record in batch.run(session, retry_timeout=0.0)]
        assert [record.state for record in records] == ["succeeded"] * JOBS
        assert sandbox.request_log.purchases == JOBS


async def test_workers_wait(shared_redis: RedisServer) -> None:
    """Two workers, each with a session of its own."""
    async with (
        Sandbox(speed=50, max_running_jobs=2) as sandbox,
        running_worker(shared_redis, sandbox, queue="jobs-limit") as worker,
        running_worker(shared_redis, sandbox, queue="jobs-limit"),
        asyncio.timeout(120),
    ):
        tasks = [await worker.generate.kiq(model="z-image", prompt=f"Kite {n}") for n in range(JOBS)]
        results = [(await task.wait_result(timeout=120)).return_value for task in tasks]
        assert [result["state"] for result in results] == ["succeeded"] * JOBS
        assert sandbox.request_log.purchases == JOBS


async def test_purchase_in_doubt_stays_in_doubt_under_a_limit() -> None:
    async with Sandbox(speed=0.5) as sandbox:
        session = session_for(sandbox, max_spend=10)
        await session.submit("z-image", "Kite 1")
        sandbox.faults.add(route=SUBMIT, nth=1, drop=True, act=True)  # bought, but the response is lost
        sandbox.faults.add(route=SUBMIT, status=429, code="rate_limited")
        submit = asyncio.create_task(session.submit("z-image", "Kite 2", idempotency_key="order-2"))
        await wait_for_rejection(sandbox)
        await session.aclose()
        with pytest.raises(OutcomeUnknownError) as raised:
            await submit
        assert raised.value.idempotency_key == "order-2"
        assert sandbox.request_log.purchases == 2
        assert session.spend.reserved == 2


async def test_cancelled_purchase_in_doubt_names_its_key() -> None:
    async with Sandbox(speed=0.5) as sandbox, session_for(sandbox) as session:
        await session.submit("z-image", "Kite 1")
        sandbox.faults.add(route=SUBMIT, nth=1, drop=True, act=True)
        sandbox.faults.add(route=SUBMIT, status=429, code="rate_limited")
        submit = asyncio.create_task(session.submit("z-image", "Kite 2", idempotency_key="order-2"))
        await wait_for_rejection(sandbox)
        polls = sandbox.request_log.count(POLL)
        async with asyncio.timeout(60):
            while sandbox.request_log.count(POLL) < polls + 2:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        submit.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await submit
        assert "order-2" in " ".join(raised.value.__notes__)


async def test_retry_after_zero_causes_no_burst() -> None:
    async with Sandbox(speed=0.5) as sandbox, session_for(sandbox) as session:
        await session.submit("z-image", "Kite 1")
        sandbox.faults.add(route=SUBMIT, status=429, code="rate_limited", retry_after="0")
        submit = asyncio.create_task(session.submit("z-image", "Kite 2"))
        async with asyncio.timeout(60):
            while sandbox.request_log.count(POLL) < 20:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        assert sandbox.request_log.count(SUBMIT) < sandbox.request_log.count(POLL)
        submit.cancel()
        await asyncio.wait([submit])
