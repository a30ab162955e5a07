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
from rivya_async.workers.desk import Desk
from rivya_async.workers.job_runner import run_job
from rivya_async.workers.order import Order
from tests.workers.engine_room import HASTY, QUICK

SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
KITE = Order(key="kite-1", request=GenerationRequest("z-image", "A kite"))
DAY = 24 * 3600.0


@attrs.define
class Shop:
    """A store and a service, and as many workers as a test has use for."""

    sandbox: Sandbox
    store: MemoryStore
    session: RivyaSession
    later: float = 0.0

    def desk(self) -> Desk:
        return Desk(
            session=self.session,
            store=self.store,
            stop=Stop(),
            wall=lambda: time.time() + self.later,  # noqa: TID251 - the workers' clock, or a later one
            uniform=lambda: 0.5,
        )

    async def carry(self, order: Order = KITE) -> JobRecord:
        async with asyncio.timeout(20):
            return await run_job(self.desk(), order)

    async def record(self) -> JobRecord:
        (record,) = await self.store.read(["kite-1"])
        assert record is not None
        return record

    async def left_in(self, state: JobState, **facts: Any) -> None:
        await self.store.advance("kite-1", {None}, state, **facts)


@pytest_asyncio.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("rivya_async._jobs.backoff.LONGEST_PAUSE", 0.01)
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


async def test_an_intent_that_was_never_sent_is_sent(shop: Shop) -> None:
    await shop.left_in(JobState.INTENT, intent_at=time.time())  # noqa: TID251
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_an_intent_that_was_sent_is_asked_for_under_its_key(shop: Shop) -> None:
    bought = await shop.session.submit("z-image", "A kite", idempotency_key="kite-1")
    await shop.left_in(JobState.INTENT, intent_at=time.time())  # noqa: TID251
    assert (await shop.carry()).task_id == bought.id
    assert (shop.sandbox.received.purchases, shop.sandbox.received.replays) == (1, 1)


async def test_what_was_bought_is_only_waited_for(shop: Shop) -> None:
    bought = await shop.session.submit("z-image", "A kite", idempotency_key="kite-1")
    await shop.left_in(JobState.SUBMITTED, task_id=bought.id)
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.count(SUBMIT) == 1


async def test_what_has_ended_costs_no_request(shop: Shop) -> None:
    ended = await shop.carry()
    requests = shop.sandbox.received.count()
    assert await shop.carry() == ended
    assert shop.sandbox.received.count() == requests


async def test_what_was_withdrawn_is_never_bought(shop: Shop) -> None:
    await shop.left_in(JobState.WITHDRAWN)
    assert (await shop.carry()).state is JobState.WITHDRAWN
    assert shop.sandbox.received.count() == 0


async def test_a_doubt_that_the_service_has_forgotten_is_given_up_and_not_bought_again(shop: Shop) -> None:
    await shop.left_in(JobState.INTENT, intent_at=time.time() - DAY)  # noqa: TID251
    record = await shop.carry()
    assert (record.state, record.error_code) == (JobState.DEAD, "in_doubt")
    assert shop.sandbox.received.count() == 0
    count, (letter,) = await shop.store.dead_letters(5)
    assert (count, letter.key, letter.code) == (1, "kite-1", "in_doubt")


def test_a_doubt_is_not_forgotten_when_it_is_ordered_again() -> None:
    poison = JobRecord(key="kite-1", state=JobState.DEAD, error_code="poison", intent_at=1.0)
    assert (poison.is_revivable, poison.revived_state) == (True, JobState.INTENT)
    assert not attrs.evolve(poison, error_code="in_doubt").is_revivable, "nothing more is known of it than then"


def test_what_was_waited_for_goes_on_where_it_was_when_it_is_ordered_again() -> None:
    dead = JobRecord(key="kite-1", state=JobState.DEAD, error_code="poison", intent_at=1.0, task_id="task_1")
    assert dead.revived_state is JobState.SUBMITTED


async def test_a_job_that_the_service_does_not_know_is_a_dead_letter_with_its_task_id(shop: Shop) -> None:
    await shop.left_in(JobState.SUBMITTED, task_id="task_unknown", submitted_at=time.time() - 60)  # noqa: TID251
    assert (await shop.carry()).state is JobState.DEAD
    _, (letter,) = await shop.store.dead_letters(5)
    assert (letter.task_id, letter.code) == ("task_unknown", "not_found")


async def test_a_replica_that_lags_behind_is_no_reason_to_lose_a_paid_job(shop: Shop) -> None:
    bought = await shop.session.submit("z-image", "A kite", idempotency_key="kite-1")
    async with RivyaSession(shop.sandbox.api_key, base_url=shop.sandbox.base_url, poll=QUICK, retry=HASTY) as other:
        shop.session = other
        shop.sandbox.faults.add(route=POLL, nth=[1, 2], status=404, code="not_found")
        await shop.left_in(JobState.SUBMITTED, task_id=bought.id, submitted_at=time.time())  # noqa: TID251
        assert (await shop.carry()).state is JobState.SUCCEEDED


# --- two at once ------------------------------------------------------------------------------------------------------


async def test_two_workers_with_one_order_buy_once_and_come_to_one_end(shop: Shop) -> None:
    records = await asyncio.gather(*(shop.carry() for _ in range(5)))
    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert len({record.task_id for record in records}) == 1
    assert shop.sandbox.received.purchases_by_key == {"kite-1": 1}


async def test_what_one_gave_up_and_the_other_bought_is_not_lost(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=1, status=422, code="validation_failed")
    shop.sandbox.faults.add(route=SUBMIT, nth=2, delay=0.2)
    records = await asyncio.gather(shop.carry(), shop.carry())
    assert JobState.SUCCEEDED in {record.state for record in records}
    assert (await shop.record()).state is JobState.SUCCEEDED


# --- drain ------------------------------------------------------------------------------------------------------------


async def test_an_open_wait_is_handed_back_and_goes_on_elsewhere(shop: Shop) -> None:
    shop.sandbox.faults.add(route=POLL, status=503)
    desk = shop.desk()
    carrying = asyncio.create_task(run_job(desk, KITE))
    await until(lambda: shop.sandbox.received.count(POLL) > 0)
    desk.stop.set()
    with pytest.raises(Stopped):
        await carrying
    record = await shop.record()
    assert (record.state, record.deliveries) == (JobState.SUBMITTED, 0)
    shop.sandbox.faults.clear()
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases == 1


async def test_while_it_drains_nothing_is_bought(shop: Shop) -> None:
    desk = shop.desk()
    desk.stop.set()
    with pytest.raises(Stopped):
        await run_job(desk, KITE)
    assert (await shop.record()).state is JobState.PLANNED
    assert shop.sandbox.received.count() == 0


async def test_the_answer_to_a_purchase_on_its_way_is_waited_for(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, delay=0.3)
    desk = shop.desk()
    carrying = asyncio.create_task(run_job(desk, KITE))
    await until(lambda: shop.sandbox.received.count(SUBMIT) == 1)
    desk.stop.set()
    with pytest.raises(Stopped):
        await carrying
    record = await shop.record()
    assert record.state is JobState.SUBMITTED
    assert record.task_id in shop.sandbox.world.tasks


async def test_a_doubtful_purchase_is_asked_for_until_the_service_answers(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=range(1, 7), status=500, act=True)
    shop.sandbox.faults.add(route=SUBMIT, nth=[7, 8], status=401, code="unauthorized")
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases_by_key == {"kite-1": 1}


# --- what the store has lost ------------------------------------------------------------------------------------------


async def test_a_record_that_was_lost_in_mid_wait_is_made_anew(shop: Shop) -> None:
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


async def test_a_record_that_was_lost_before_the_answer_is_made_anew(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, delay=0.2)
    carrying = asyncio.create_task(shop.carry())
    await until(lambda: shop.sandbox.received.count(SUBMIT) > 0)
    shop.store._records.clear()
    assert (await carrying).state is JobState.SUCCEEDED
    assert shop.sandbox.received.purchases == 1


class Forgetful(MemoryStore):
    """Keeps ended orders for a week, as Redis does."""

    kept = 7 * DAY


async def test_a_message_that_is_older_than_what_is_remembered_is_never_bought(shop: Shop) -> None:
    shop.store = Forgetful()
    now = time.time()  # noqa: TID251 - the workers' clock
    async with asyncio.timeout(20):
        old = await run_job(shop.desk(), KITE, now - 8 * DAY)
    assert (old.state, old.error_code) == (JobState.DEAD, "in_doubt")
    assert shop.sandbox.received.count() == 0
    whale = attrs.evolve(KITE, key="whale-1")
    async with asyncio.timeout(20):
        young = await run_job(shop.desk(), whale, now - 2 * DAY)
    assert young.state is JobState.SUCCEEDED, "it may have waited in the queue for days"


# --- whose fault it is ------------------------------------------------------------------------------------------------


async def test_a_clash_with_our_own_twin_passes(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=[1, 2], status=409, code="idempotency_conflict")
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert await shop.store.dead_letters(5) == (0, [])


async def test_a_clash_that_lasts_is_a_key_of_another_job(shop: Shop) -> None:
    await shop.session.submit("z-image", "Another kite", idempotency_key="kite-1")
    record = await shop.carry()
    assert (record.state, record.error_code) == (JobState.DEAD, "idempotency_conflict")


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (402, "insufficient_credits"), (403, "forbidden")])
async def test_what_is_the_fault_of_the_account_costs_no_order(shop: Shop, status: int, code: str) -> None:
    shop.sandbox.faults.add(route=SUBMIT, nth=range(1, 4), status=status, code=code)
    assert (await shop.carry()).state is JobState.SUCCEEDED
    assert await shop.store.dead_letters(5) == (0, [])
    record = await shop.record()
    assert (record.error, record.status) == (None, None)


async def test_an_order_that_is_held_can_be_withdrawn(shop: Shop) -> None:
    shop.sandbox.faults.add(route=SUBMIT, status=402, code="insufficient_credits")
    carrying = asyncio.create_task(shop.carry())
    await until(lambda: shop.sandbox.received.count(SUBMIT) > 1)
    while (await shop.record()).state is not JobState.WITHDRAWN:
        await shop.store.advance("kite-1", {JobState.PLANNED}, JobState.WITHDRAWN)
        await asyncio.sleep(0.001)
    assert (await carrying).state is JobState.WITHDRAWN
    assert shop.sandbox.received.purchases == 0
