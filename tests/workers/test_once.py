"""Exactly one purchase over at-least-once delivery: whatever state a worker left an order in, the next one goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import pytest_asyncio

from rivya_async import GenerationRequest, RivyaSession
from rivya_async._engine.stop import Stop, Stopped
from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobRecord, JobState, MemoryStore
from rivya_async.workers.context import WorkerContext
from rivya_async.workers.fulfilment import Fulfilment
from rivya_async.workers.job_message import JobMessage
from tests.workers.engine_room import HASTY, QUICK

SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
KITE = JobMessage(key="kite-1", request=GenerationRequest("z-image", "A kite"))
DAY = 24 * 3600.0


@attrs.define
class Shop:
    """A store and a service, and as many workers as a test has use for."""

    sandbox: Sandbox
    store: MemoryStore
    session: RivyaSession
    later: float = 0.0

    def worker_context(self) -> WorkerContext:
        return WorkerContext(
            session=self.session,
            store=self.store,
            stop=Stop(),
            wall=lambda: time.time() + self.later,  # noqa: TID251 - the workers' clock, or a later one
            uniform=lambda: 0.5,
        )

    async def carry(self, order: JobMessage = KITE) -> JobRecord:
        async with asyncio.timeout(20):
            return await Fulfilment(self.worker_context(), order).carry()

    async def record(self) -> JobRecord:
        (record,) = await self.store.read(["kite-1"])
        assert record is not None
        return record

    async def left_in(self, state: JobState, **facts: Any) -> None:
        await self.store.advance("kite-1", {None}, state, **facts)


@pytest_asyncio.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr("rivya_async.workers.fulfilment.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("rivya_async.workers.fulfilment.LONGEST_PAUSE", 0.01)
    async with (
        Sandbox(speed=500, credits=100) as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=QUICK, retry=HASTY) as session,
    ):
        yield Shop(sandbox, MemoryStore(), session)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.005)


# --- what another worker has left -------------------------------------------------------------------------------------


async def test_unsent_intent_is_sent(shop: Shop) -> None:
    await shop.left_in(JobState.INTENT, intent_at=time.time())  # noqa: TID251
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_sent_intent_is_repeated_under_its_key(shop: Shop) -> None:
    bought = await shop.session.submit("z-image", "A kite", idempotency_key="kite-1")
    await shop.left_in(JobState.INTENT, intent_at=time.time())  # noqa: TID251
    assert (await shop.carry()).task_id == bought.id
    assert (shop.sandbox.received.purchases, shop.sandbox.received.replays) == (1, 1)


async def test_bought_job_is_not_bought_again(shop: Shop) -> None:
    bought = await shop.session.submit("z-image", "A kite", idempotency_key="kite-1")
    await shop.left_in(JobState.BOUGHT, task_id=bought.id)
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.count(SUBMIT) == 1


async def test_ended_job_sends_no_request(shop: Shop) -> None:
    ended = await shop.carry()
    requests = shop.sandbox.received.count()
    assert await shop.carry() == ended
    assert shop.sandbox.received.count() == requests


async def test_withdrawn_job_is_not_bought(shop: Shop) -> None:
    await shop.left_in(JobState.WITHDRAWN)
    assert (await shop.carry()).state is JobState.WITHDRAWN
    assert shop.sandbox.received.count() == 0


async def test_expired_intent_is_dead_in_doubt(shop: Shop) -> None:
    await shop.left_in(JobState.INTENT, intent_at=time.time() - DAY)  # noqa: TID251
    record = await shop.carry()
    assert (record.state, record.error_code) == (JobState.DEAD, "in_doubt")
    assert shop.sandbox.received.count() == 0
    count, (letter,) = await shop.store.dead_letters(5)
    assert (count, letter.key, letter.code) == (1, "kite-1", "in_doubt")


def test_in_doubt_record_is_not_revivable() -> None:
    poison = JobRecord(key="kite-1", state=JobState.DEAD, error_code="poison", intent_at=1.0)
    assert (poison.is_revivable, poison.revived_state) == (True, JobState.INTENT)
    assert not attrs.evolve(poison, error_code="in_doubt").is_revivable, "nothing more is known of it than then"


def test_revived_bought_job_stays_bought() -> None:
    dead = JobRecord(key="kite-1", state=JobState.DEAD, error_code="poison", intent_at=1.0, task_id="task_1")
    assert dead.revived_state is JobState.BOUGHT


async def test_unknown_task_is_a_dead_letter_with_its_id(shop: Shop) -> None:
    await shop.left_in(JobState.BOUGHT, task_id="task_unknown", intent_at=time.time() - 60)  # noqa: TID251
    assert (await shop.carry()).state is JobState.DEAD
    _, (letter,) = await shop.store.dead_letters(5)
    assert (letter.task_id, letter.code) == ("task_unknown", "not_found")


async def test_replica_lag_does_not_lose_a_job(shop: Shop) -> None:
    bought = await shop.session.submit("z-image", "A kite", idempotency_key="kite-1")
    async with RivyaSession(shop.sandbox.api_key, base_url=shop.sandbox.base_url, poll=QUICK, retry=HASTY) as other:
        shop.session = other
        shop.sandbox.faults.add(route=POLL, nth=[1, 2], status=404, code="not_found")
        await shop.left_in(JobState.BOUGHT, task_id=bought.id, intent_at=time.time())  # noqa: TID251
        assert (await shop.carry()).state is JobState.SUCCEEDED


# --- two at once ------------------------------------------------------------------------------------------------------


async def test_concurrent_deliveries_buy_once(shop: Shop) -> None:
    records = await asyncio.gather(*(shop.carry() for _ in range(5)))
    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert len({record.task_id for record in records}) == 1
    assert shop.sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_job_bought_by_a_concurrent_delivery_is_kept(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=1, status=422, code="validation_failed")
    shop.sandbox.faults.add(route=SUBMIT, nth=2, delay=0.2)
    records = await asyncio.gather(shop.carry(), shop.carry())
    assert JobState.SUCCEEDED in {record.state for record in records}
    assert (await shop.record()).state is JobState.SUCCEEDED


# --- drain ------------------------------------------------------------------------------------------------------------


async def test_drain_returns_an_open_wait(shop: Shop) -> None:
    shop.sandbox.faults.add(route=POLL, status=503)
    worker_context = shop.worker_context()
    carrying = asyncio.create_task(Fulfilment(worker_context, KITE).carry())
    await until(lambda: shop.sandbox.received.count(POLL) > 0)
    worker_context.shutdown.set()
    with pytest.raises(Stopped):
        await carrying
    record = await shop.record()
    assert (record.state, record.deliveries) == (JobState.BOUGHT, 0)
    shop.sandbox.faults.clear()
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases == 1


async def test_drain_buys_nothing(shop: Shop) -> None:
    worker_context = shop.worker_context()
    worker_context.shutdown.set()
    with pytest.raises(Stopped):
        await Fulfilment(worker_context, KITE).carry()
    assert (await shop.record()).state is JobState.QUEUED
    assert shop.sandbox.received.count() == 0


async def test_drain_waits_for_a_purchase_in_flight(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, delay=0.3)
    worker_context = shop.worker_context()
    carrying = asyncio.create_task(Fulfilment(worker_context, KITE).carry())
    await until(lambda: shop.sandbox.received.count(SUBMIT) == 1)
    worker_context.shutdown.set()
    with pytest.raises(Stopped):
        await carrying
    record = await shop.record()
    assert record.state is JobState.BOUGHT
    assert record.task_id in shop.sandbox.world.tasks


async def test_ambiguous_purchase_is_repeated_until_answered(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=range(1, 7), status=500, act=True)
    shop.sandbox.faults.add(route=SUBMIT, nth=[7, 8], status=401, code="unauthorized")
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases_by_key == {"kite-1": 1}


# --- what the store has lost ------------------------------------------------------------------------------------------


async def test_record_lost_during_wait_is_restored(shop: Shop) -> None:
    shop.sandbox.faults.add(route=POLL, status=503)
    carrying = asyncio.create_task(shop.carry())
    await until(lambda: shop.sandbox.received.count(POLL) > 0)
    task_id = (await shop.record()).task_id
    shop.store._records.clear()
    shop.sandbox.faults.clear()
    record = await carrying
    assert (record.state, record.task_id) == (JobState.SUCCEEDED, task_id)
    assert await shop.record() == record
    assert shop.sandbox.received.purchases == 1


async def test_record_lost_before_response_is_restored(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, delay=0.2)
    carrying = asyncio.create_task(shop.carry())
    await until(lambda: shop.sandbox.received.count(SUBMIT) > 0)
    shop.store._records.clear()
    assert (await carrying).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases == 1


class Forgetful(MemoryStore):
    """Keeps ended orders for a week, as Redis does."""

    record_ttl = 7 * DAY


async def test_message_older_than_record_ttl_is_not_bought(shop: Shop) -> None:
    shop.store = Forgetful()
    now = time.time()  # noqa: TID251 - the workers' clock
    async with asyncio.timeout(20):
        old = await Fulfilment(shop.worker_context(), KITE, now - 8 * DAY).carry()
    assert (old.state, old.error_code) == (JobState.DEAD, "in_doubt")
    assert shop.sandbox.received.count() == 0
    whale = attrs.evolve(KITE, key="whale-1")
    async with asyncio.timeout(20):
        young = await Fulfilment(shop.worker_context(), whale, now - 2 * DAY).carry()
    assert young.state is JobState.SUCCEEDED, "it may have waited in the queue for days"


# --- whose fault it is ------------------------------------------------------------------------------------------------


async def test_conflict_with_a_concurrent_delivery_is_retried(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=[1, 2], status=409, code="idempotency_conflict")
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert await shop.store.dead_letters(5) == (0, [])


async def test_lasting_conflict_is_dead(shop: Shop) -> None:
    await shop.session.submit("z-image", "Another kite", idempotency_key="kite-1")
    record = await shop.carry()
    assert (record.state, record.error_code) == (JobState.DEAD, "idempotency_conflict")


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (402, "insufficient_credits"), (403, "forbidden")])
async def test_account_errors_do_not_kill_a_job(shop: Shop, status: int, code: str) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), status=status, code=code)
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert await shop.store.dead_letters(5) == (0, [])
    record = await shop.record()
    assert (record.error, record.status) == (None, None)


async def test_blocked_job_can_be_withdrawn(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, status=402, code="insufficient_credits")
    carrying = asyncio.create_task(shop.carry())
    await until(lambda: shop.sandbox.received.count(SUBMIT) > 1)
    while (await shop.record()).state is not JobState.WITHDRAWN:
        await shop.store.advance("kite-1", {JobState.QUEUED}, JobState.WITHDRAWN)
        await asyncio.sleep(0.001)
    assert (await carrying).state is JobState.WITHDRAWN
    assert shop.sandbox.received.purchases == 0
