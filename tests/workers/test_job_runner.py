"""One purchase per job over at-least-once delivery, from every state in which a worker may leave a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import pytest_asyncio

from rivya_async import GenerationRequest, RivyaSession
from rivya_async._engine.shutdown import ShutdownRequested, ShutdownSignal
from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobRecord, JobState, MemoryStore
from rivya_async.workers.context import WorkerContext
from rivya_async.workers.job_message import JobMessage
from rivya_async.workers.job_runner import run_job
from tests.workers.workers_kit import FAST_POLLS, FAST_RETRIES, wait_until

SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
MESSAGE = JobMessage(key="kite-1", request=GenerationRequest("z-image", "A kite"))
DAY = 24 * 3600.0


@attrs.define
class RunnerSetup:
    """A store and a service, for any number of workers."""

    sandbox: Sandbox
    store: MemoryStore
    session: RivyaSession

    def worker_context(self) -> WorkerContext:
        return WorkerContext(
            session=self.session,
            store=self.store,
            shutdown=ShutdownSignal(),
            wall=time.time,  # noqa: TID251 - the workers' wall clock
            uniform=lambda: 0.5,
        )

    async def run(self, message: JobMessage = MESSAGE) -> JobRecord:
        async with asyncio.timeout(20):
            return await run_job(self.worker_context(), message)

    async def record(self) -> JobRecord:
        (record,) = await self.store.read(["kite-1"])
        assert record is not None
        return record

    async def given_record(self, state: JobState, **facts: Any) -> None:
        await self.store.advance("kite-1", {None}, state, **facts)


@pytest_asyncio.fixture
async def env(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunnerSetup]:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("rivya_async._jobs.backoff.LONGEST_PAUSE", 0.01)
    async with (
        Sandbox(speed=500, credits=100) as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=FAST_POLLS, retry=FAST_RETRIES) as session,
    ):
        yield RunnerSetup(sandbox, MemoryStore(), session)


# --- records of another worker ----------------------------------------------------------------------------------------


async def test_unsent_intent_is_sent(env: RunnerSetup) -> None:
    await env.given_record(JobState.INTENT, intent_at=time.time())  # noqa: TID251
    assert (await env.run()).state is JobState.SUCCEEDED
    assert env.sandbox.request_log.purchases_by_key == {"kite-1": 1}


async def test_sent_intent_is_repeated_under_its_key(env: RunnerSetup) -> None:
    bought = await env.session.submit("z-image", "A kite", idempotency_key="kite-1")
    await env.given_record(JobState.INTENT, intent_at=time.time())  # noqa: TID251
    assert (await env.run()).task_id == bought.id
    assert (env.sandbox.request_log.purchases, env.sandbox.request_log.replays) == (1, 1)


async def test_bought_job_is_not_bought_again(env: RunnerSetup) -> None:
    bought = await env.session.submit("z-image", "A kite", idempotency_key="kite-1")
    await env.given_record(JobState.SUBMITTED, task_id=bought.id)
    assert (await env.run()).state is JobState.SUCCEEDED
    assert env.sandbox.request_log.count(SUBMIT) == 1


async def test_ended_job_sends_no_request(env: RunnerSetup) -> None:
    ended = await env.run()
    requests = env.sandbox.request_log.count()
    assert await env.run() == ended
    assert env.sandbox.request_log.count() == requests


async def test_withdrawn_job_is_not_bought(env: RunnerSetup) -> None:
    await env.given_record(JobState.WITHDRAWN)
    assert (await env.run()).state is JobState.WITHDRAWN
    assert env.sandbox.request_log.count() == 0


async def test_expired_intent_is_dead_in_doubt(env: RunnerSetup) -> None:
    await env.given_record(JobState.INTENT, intent_at=time.time() - DAY)  # noqa: TID251
    record = await env.run()
    assert (record.state, record.error_type) == (JobState.DEAD, "JobInDoubtError")
    assert env.sandbox.request_log.count() == 0
    count, (letter,) = await env.store.list_dead_letters(5)
    assert (count, letter.key, letter.error_type) == (1, "kite-1", "JobInDoubtError")


def test_in_doubt_record_is_not_revivable() -> None:
    poison = JobRecord(key="kite-1", state=JobState.DEAD, error_type="PoisonMessageError", intent_at=1.0)
    assert (poison.is_revivable, poison.revived_state) == (True, JobState.INTENT)
    assert not attrs.evolve(poison, error_type="JobInDoubtError").is_revivable


def test_revived_bought_job_stays_bought() -> None:
    dead = JobRecord(
        key="kite-1", state=JobState.DEAD, error_type="PoisonMessageError", intent_at=1.0, task_id="task_1"
    )
    assert dead.revived_state is JobState.SUBMITTED


async def test_unknown_task_is_a_dead_letter_with_its_id(env: RunnerSetup) -> None:
    await env.given_record(JobState.SUBMITTED, task_id="task_unknown", submitted_at=time.time() - 60)  # noqa: TID251
    assert (await env.run()).state is JobState.DEAD
    _, (letter,) = await env.store.list_dead_letters(5)
    assert (letter.task_id, letter.error_code or letter.error_type) == ("task_unknown", "not_found")


async def test_replica_lag_does_not_lose_a_job(env: RunnerSetup) -> None:
    bought = await env.session.submit("z-image", "A kite", idempotency_key="kite-1")
    async with RivyaSession(
        env.sandbox.api_key, base_url=env.sandbox.base_url, poll=FAST_POLLS, retry=FAST_RETRIES
    ) as other:
        env.session = other
        env.sandbox.faults.add(route=POLL, nth=[1, 2], status=404, code="not_found")
        await env.given_record(JobState.SUBMITTED, task_id=bought.id, submitted_at=time.time())  # noqa: TID251
        assert (await env.run()).state is JobState.SUCCEEDED


# --- concurrent deliveries --------------------------------------------------------------------------------------------


async def test_concurrent_deliveries_buy_once(env: RunnerSetup) -> None:
    records = await asyncio.gather(*(env.run() for _ in range(5)))
    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert len({record.task_id for record in records}) == 1
    assert env.sandbox.request_log.purchases_by_key == {"kite-1": 1}


async def test_job_bought_by_a_concurrent_delivery_is_kept(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, nth=1, status=422, code="validation_failed")
    env.sandbox.faults.add(route=SUBMIT, nth=2, delay=0.2)
    records = await asyncio.gather(env.run(), env.run())
    assert JobState.SUCCEEDED in {record.state for record in records}
    assert (await env.record()).state is JobState.SUCCEEDED


# --- drain ------------------------------------------------------------------------------------------------------------


async def test_drain_returns_an_open_wait(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=POLL, status=503)
    worker_context = env.worker_context()
    running = asyncio.create_task(run_job(worker_context, MESSAGE))
    await wait_until(lambda: env.sandbox.request_log.count(POLL) > 0)
    worker_context.shutdown.set()
    with pytest.raises(ShutdownRequested):
        await running
    record = await env.record()
    assert (record.state, record.deliveries) == (JobState.SUBMITTED, 0)
    env.sandbox.faults.clear()
    assert (await env.run()).state is JobState.SUCCEEDED
    assert env.sandbox.request_log.purchases == 1


async def test_drain_buys_nothing(env: RunnerSetup) -> None:
    worker_context = env.worker_context()
    worker_context.shutdown.set()
    with pytest.raises(ShutdownRequested):
        await run_job(worker_context, MESSAGE)
    assert (await env.record()).state is JobState.PLANNED
    assert env.sandbox.request_log.count() == 0


async def test_drain_waits_for_a_purchase_in_flight(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, delay=0.3)
    worker_context = env.worker_context()
    running = asyncio.create_task(run_job(worker_context, MESSAGE))
    await wait_until(lambda: env.sandbox.request_log.count(SUBMIT) == 1)
    worker_context.shutdown.set()
    with pytest.raises(ShutdownRequested):
        await running
    record = await env.record()
    assert record.state is JobState.SUBMITTED
    assert record.task_id in env.sandbox.service_state.tasks


async def test_ambiguous_purchase_is_repeated_until_answered(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, nth=range(1, 7), status=500, act=True)
    env.sandbox.faults.add(route=SUBMIT, nth=[7, 8], status=401, code="unauthorized")
    assert (await env.run()).state is JobState.SUCCEEDED
    assert env.sandbox.request_log.purchases_by_key == {"kite-1": 1}


# --- records that the store has lost ----------------------------------------------------------------------------------


async def test_record_lost_during_wait_is_restored(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=POLL, status=503)
    running = asyncio.create_task(env.run())
    await wait_until(lambda: env.sandbox.request_log.count(POLL) > 0)
    task_id = (await env.record()).task_id
    env.store._records.clear()
    env.sandbox.faults.clear()
    record = await running
    assert (record.state, record.task_id) == (JobState.SUCCEEDED, task_id)
    assert await env.record() == record
    assert env.sandbox.request_log.purchases == 1


async def test_record_lost_before_response_is_restored(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, delay=0.2)
    running = asyncio.create_task(env.run())
    await wait_until(lambda: env.sandbox.request_log.count(SUBMIT) > 0)
    env.store._records.clear()
    assert (await running).state is JobState.SUCCEEDED
    assert env.sandbox.request_log.purchases == 1


class ExpiringStore(MemoryStore):
    """A store whose records expire after a week, as in Redis."""

    record_ttl = 7 * DAY


async def test_message_older_than_record_ttl_is_not_bought(env: RunnerSetup) -> None:
    env.store = ExpiringStore()
    now = time.time()  # noqa: TID251 - the workers' clock
    async with asyncio.timeout(20):
        old_job = await run_job(env.worker_context(), MESSAGE, now - 8 * DAY)
    assert (old_job.state, old_job.error_type) == (JobState.DEAD, "JobInDoubtError")
    assert env.sandbox.request_log.count() == 0
    whale = attrs.evolve(MESSAGE, key="whale-1")
    async with asyncio.timeout(20):
        recent_job = await run_job(env.worker_context(), whale, now - 2 * DAY)
    assert recent_job.state is JobState.SUCCEEDED, "a message may wait for days"


# --- errors of the account and conflicts ------------------------------------------------------------------------------


async def test_conflict_with_a_concurrent_delivery_is_retried(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, nth=[1, 2], status=409, code="idempotency_conflict")
    assert (await env.run()).state is JobState.SUCCEEDED
    assert await env.store.list_dead_letters(5) == (0, [])


async def test_permanent_conflict_becomes_dead_letter(env: RunnerSetup) -> None:
    await env.session.submit("z-image", "Another kite", idempotency_key="kite-1")
    record = await env.run()
    assert (record.state, record.error_code) == (JobState.DEAD, "idempotency_conflict")


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (402, "insufficient_credits"), (403, "forbidden")])
async def test_account_errors_do_not_kill_a_job(env: RunnerSetup, status: int, code: str) -> None:
    env.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), status=status, code=code)
    assert (await env.run()).state is JobState.SUCCEEDED
    assert await env.store.list_dead_letters(5) == (0, [])
    record = await env.record()
    assert (record.error, record.status) == (None, None)


async def test_blocked_job_can_be_withdrawn(env: RunnerSetup) -> None:
    env.sandbox.faults.add(route=SUBMIT, status=402, code="insufficient_credits")
    running = asyncio.create_task(env.run())
    await wait_until(lambda: env.sandbox.request_log.count(SUBMIT) > 1)
    while (await env.record()).state is not JobState.WITHDRAWN:
        await env.store.advance("kite-1", {JobState.PLANNED}, JobState.WITHDRAWN)
        await asyncio.sleep(0.001)
    assert (await running).state is JobState.WITHDRAWN
    assert env.sandbox.request_log.purchases == 0
