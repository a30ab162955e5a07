"""A verified webhook ends the waits for its job at once; what is old, bare or doubtful ends none."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import attrs
import pytest

from rivya_async._core.errors import (
    ConfigurationError,
    GenerationFailedError,
    RivyaError,
    SessionClosedError,
    WaitTimeoutError,
)
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.http.messages import Request
from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.spend import SpendLedger
from rivya_async._core.types.generations import ErrorDetail, Generation, GenerationResult
from rivya_async._engine.polling import wait_registry
from rivya_async._engine.purchase_preflight import PurchasePreflight
from rivya_async.resources.generation_methods import JobContext
from rivya_async.resources.generations import Generations
from rivya_async.resources.models import Models
from tests.engine.engine_kit import (
    DAY,
    JOB,
    Reply,
    ScriptedTransport,
    Service,
    cancel,
    engine_over,
    failure_of,
    generations_of,
    ids,
    job,
    never,
    no_files,
    record,
    script,
)
from tests.engine.virtual_time import now, settle

SLOW = PollPolicy(first=1000, base=1000, cap=1000, floor=1000, timeout=None)
EVERY_SECOND = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None)


def ended(task_id: str = "task_1", at: float | None = 10.0, status: str = "succeeded") -> Generation:
    """A terminal record as a delivery brings it."""
    result = GenerationResult(f"http://files.test/{task_id}") if status == "succeeded" else None
    error = None if result else ErrorDetail("generation_failed", "no")
    return attrs.evolve(record(task_id, status, at), result=result, error=error, created_at=DAY)


@pytest.fixture
def service() -> Service:
    return Service(duration=500.0)


def over(service: Service, poll: PollPolicy = SLOW) -> Generations:
    return generations_of(engine_over(service.transport), poll)


# --- every wait ends at once ------------------------------------------------------------------------------------------


async def test_every_kind_of_wait_ends_in_the_turn_in_which_it_is_told(service: Service) -> None:
    generations = over(service)

    async def watched(task: Generation) -> Generation:
        return [update async for update in generations.watch(task)][-1]

    async def completed(task: Generation) -> Generation:
        (only,) = [each async for each in generations.as_completed([task])]
        return only

    async def mapped() -> Generation:
        (only,) = [each async for each in generations.map([JOB], max_in_flight=1, ordered=False)]
        return only.unwrap()

    bought = await generations.create(JOB)
    waiting = [
        asyncio.create_task(generations.wait_for(bought)),
        asyncio.create_task(generations.wait_for(bought.id, on_update=lambda _: None)),
        asyncio.create_task(watched(bought)),
        asyncio.create_task(completed(bought)),
        asyncio.create_task(generations.generate(JOB)),
        asyncio.create_task(mapped()),
    ]
    await asyncio.sleep(5.0)
    at, polls = now(), len(service.transport.polls)
    for task_id in service.ends_at:
        assert generations.settle(ended(task_id))
    told = await asyncio.gather(*waiting)
    assert now() == at
    assert ids(told) == ["task_1"] * 4 + ["task_2", "task_3"]
    assert all(each.urls for each in told)
    assert len(service.transport.polls) == polls == 0


async def test_a_failed_job_raises_as_after_a_poll(service: Service) -> None:
    generations = over(service)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    generations.settle(ended(status="failed"))
    with pytest.raises(GenerationFailedError):
        await wait


async def test_the_engine_keeps_nothing_for_a_job_that_was_told(service: Service) -> None:
    engine = engine_over(service.transport)
    generations = generations_of(engine, EVERY_SECOND)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.05)  # a poll is in flight
    generations.settle(ended())
    await wait
    polls = len(service.transport.polls)
    await asyncio.sleep(100.0)
    assert len(service.transport.polls) == polls
    await engine.aclose()


async def test_a_poll_in_flight_is_dropped_and_the_others_go_on(service: Service) -> None:
    service.transport.latency = 3.0
    generations = over(service, EVERY_SECOND)
    waits = [asyncio.create_task(generations.generate(GenerationRequest("z-image", str(n)))) for n in range(3)]
    await asyncio.sleep(5.0)
    assert service.transport.in_flight == 3
    generations.settle(ended("task_1"))
    await settle()
    assert (service.transport.in_flight, service.transport.cancelled) == (2, 1)
    service.ends_at.update(task_2=now(), task_3=now())
    assert ids(await asyncio.gather(*waits)) == ["task_1", "task_2", "task_3"]


# --- what changes nothing ---------------------------------------------------------------------------------------------


async def test_a_duplicate_changes_nothing(service: Service) -> None:
    generations = over(service)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    assert generations.settle(ended())
    assert not generations.settle(ended())
    first = await wait
    assert not generations.settle(ended(at=11.0, status="failed"))  # nor does another end: the first one counts
    assert await generations.wait_for("task_1") == first


async def test_updates_come_in_the_order_of_the_servers_clock() -> None:
    transport = script(job("task_1", "queued", 1.0))
    generations = generations_of(engine_over(transport), SLOW)
    told = [
        record("task_1", "processing", 5.0),
        record("task_1", "queued", 2.0),  # late
        record("task_1", "processing", 5.0),  # again
        record("task_1", "on_hold", 7.0),
        record("task_1", "processing", 6.0),  # late
    ]
    seen: list[str] = []
    wait = asyncio.create_task(generations.wait_for("task_1", on_update=lambda each: seen.append(each.status)))
    await asyncio.sleep(1.0)
    assert [generations.settle(each) for each in told] == [True, False, False, True, False]
    await settle()
    assert generations.settle(ended())
    await wait
    assert seen == ["queued", "processing", "on_hold", "succeeded"]


async def test_an_open_record_after_the_end_changes_nothing(service: Service) -> None:
    generations = over(service)
    generations.settle(ended())
    assert not generations.settle(record("task_1", "processing", 99.0))
    assert (await generations.wait_for("task_1")).succeeded


async def test_an_open_record_that_nobody_waits_for_is_not_kept(service: Service) -> None:
    assert not over(service).settle(record("task_1", "processing", 5.0))


async def test_an_answer_on_its_way_does_not_undo_what_was_told() -> None:
    transport = script(job("task_1", "queued", 1.0), latency=2.0)
    generations = generations_of(engine_over(transport), SLOW)
    seen: list[str] = []
    wait = asyncio.create_task(generations.wait_for("task_1", on_update=lambda each: seen.append(each.status)))
    await asyncio.sleep(1.0)
    generations.settle(record("task_1", "processing", 5.0))
    await asyncio.sleep(5.0)
    assert seen == ["processing"]
    await cancel(wait)


# --- what is not trusted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "doubtful",
    [
        pytest.param(record("task_1", "succeeded", 10.0), id="a success without files"),
        pytest.param(ended(at=3.0), id="an end older than what was seen"),
        pytest.param(ended(at=3.0, status="failed"), id="a failure older than what was seen"),
    ],
)
async def test_an_end_that_does_not_fit_is_looked_into_by_one_poll(doubtful: Generation) -> None:
    transport = script(job("task_1", "processing", 5.0), job("task_1", "succeeded", 10.0))
    generations = generations_of(engine_over(transport, uniform=lambda: 0.5), SLOW)
    wait = asyncio.create_task(generations.wait_for("task_1"))
    await asyncio.sleep(20.0)
    at = now()
    assert not generations.settle(doubtful)
    assert not wait.done()
    assert (await wait).urls == ("http://files.test/task_1",)
    assert now() == at
    assert len(transport.polls) == 2


async def test_an_end_that_does_not_fit_is_looked_into_after_a_poll_in_flight_which_may_be_older() -> None:
    transport = script(job("task_1", "processing", 5.0), job("task_1", "succeeded", 10.0), latency=2.0)
    generations = generations_of(engine_over(transport), attrs.evolve(SLOW, floor=1))
    wait = asyncio.create_task(generations.wait_for("task_1"))
    for _ in range(3):
        await asyncio.sleep(0.5)
        generations.settle(record("task_1", "succeeded", 10.0))
    assert (await wait).urls
    first, second = transport.polls
    assert second.at - first.at == pytest.approx(2.0 + 1.0), "the answer took two seconds, and the floor is one"
    assert transport.cancelled == 0


async def test_a_success_without_files_that_nobody_waits_for_ends_no_later_wait(service: Service) -> None:
    generations = over(service, EVERY_SECOND)
    task_id = service.sell(duration=10.0)
    assert not generations.settle(record(task_id, "succeeded", 10.0))
    assert (await generations.wait_for(task_id)).urls
    assert now() >= 10.0


# --- earlier than the wait --------------------------------------------------------------------------------------------


async def test_an_end_that_was_told_before_the_submit_was_answered_needs_no_poll(service: Service) -> None:
    service.transport.latency = 2.0
    generations = over(service, EVERY_SECOND)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(1.0)
    assert generations.settle(ended("task_1"))
    assert (await wait).succeeded
    assert now() == 2.0
    assert not service.transport.polls


async def test_ends_told_between_submit_and_wait_need_no_poll_however_they_are_waited_for(service: Service) -> None:
    generations = over(service, EVERY_SECOND)
    jobs = [await generations.create(JOB, idempotency_key=str(n)) for n in range(4)]
    for each in jobs:
        assert generations.settle(ended(each.id))
    assert (await generations.wait_for(jobs[0])).succeeded
    assert (await generations.wait_for(jobs[0].id, timeout=0.0)).succeeded  # also where the time is up
    async with aclosing(generations.watch(jobs[1])) as updates:
        assert [each.status async for each in updates] == ["succeeded"]
    async with aclosing(generations.as_completed(jobs)) as all_ended:
        assert sorted([each.id async for each in all_ended]) == ids(jobs)
    assert not service.transport.polls


async def test_only_so_many_ends_are_remembered(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_registry, "MAX_WEBHOOK_RESULTS", 3)
    generations = over(service, EVERY_SECOND)
    names = [service.sell(duration=0.0) for _ in range(5)]
    for task_id in names:
        generations.settle(ended(task_id))
    for task_id in names:
        await generations.wait_for(task_id)
    assert [sent.path.rpartition("/")[2] for sent in service.transport.polls] == names[:2]


async def test_a_wait_that_was_given_up_is_told_all_the_same(service: Service) -> None:
    generations = over(service)
    bought = await generations.create(JOB)
    with pytest.raises(WaitTimeoutError):
        await generations.wait_for(bought, timeout=5.0)
    polls = len(service.transport.polls)
    assert generations.settle(ended(bought.id))
    assert (await generations.wait_for(bought)).succeeded
    assert len(service.transport.polls) == polls


async def test_an_end_that_a_poll_saw_after_the_last_deadline_is_not_told_again() -> None:
    transport = script(job("task_1", "succeeded", 9.0), latency=5.0)
    generations = generations_of(engine_over(transport), SLOW)
    with pytest.raises(WaitTimeoutError):
        await generations.wait_for("task_1", timeout=1.0)
    await asyncio.sleep(10.0)
    assert not generations.settle(ended(at=9.0))
    assert (await generations.wait_for("task_1")).succeeded


# --- cancellation, closing, other loops -------------------------------------------------------------------------------


async def test_cancelling_one_wait_leaves_the_other_to_be_told(service: Service) -> None:
    generations = over(service)
    bought = await generations.create(JOB)
    gone, stays = (asyncio.create_task(generations.wait_for(bought)) for _ in range(2))
    await asyncio.sleep(5.0)
    gone.cancel()
    generations.settle(ended(bought.id))  # in the turn in which the other is cancelled
    assert (await stays).succeeded
    await cancel(gone)
    assert gone.cancelled()


async def test_closing_meanwhile_ends_the_wait_as_ever_and_what_comes_later_changes_nothing(service: Service) -> None:
    engine = engine_over(service.transport)
    generations = generations_of(engine, SLOW)
    wait = asyncio.create_task(failure_of(generations.generate(JOB)))
    await asyncio.sleep(5.0)
    await engine.aclose()
    assert not generations.settle(ended())
    assert isinstance(await wait, SessionClosedError)


async def test_what_is_told_in_the_turn_before_closing_counts(service: Service) -> None:
    engine = engine_over(service.transport)
    generations = generations_of(engine, SLOW)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    generations.settle(ended())
    await engine.aclose()
    assert (await wait).succeeded


@pytest.mark.parametrize("what", [None, "task_1", {"id": "task_1"}])
async def test_only_a_generation_settles(service: Service, what: object) -> None:
    with pytest.raises(ConfigurationError, match="Generation of a webhook event"):
        over(service).settle(what)  # type: ignore[arg-type]


async def test_a_thread_without_a_loop_is_told_how_to_hand_it_over(service: Service) -> None:
    generations = over(service)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    raised: list[RivyaError] = []

    def elsewhere() -> None:
        try:
            generations.settle(ended())
        except ConfigurationError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "call_soon_threadsafe" in str(raised[0])
    asyncio.get_running_loop().call_soon_threadsafe(generations.settle, ended())
    assert (await wait).succeeded


# --- what is learned, what is freed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_early", [True, False])
async def test_a_job_that_nobody_waits_for_settles_its_cost(service: Service, is_early: bool) -> None:
    service.transport.latency = 2.0
    engine, purse = engine_over(service.transport), SpendLedger()
    preflight = PurchasePreflight(Models(lambda: engine).catalogue, purse, {}, new_key=lambda: "key-1")
    generations = Generations(JobContext(lambda: engine, SLOW, preflight, no_files), engine.delivery_rate)
    end = attrs.evolve(ended(status="failed"), reserved_credits=4, final_credits=0)
    buying = asyncio.create_task(generations.create(JOB))
    await asyncio.sleep(1.0)
    if is_early:
        generations.settle(end)
    await buying
    if not is_early:
        generations.settle(end)
    assert not purse.reserved
    assert [cost.final for cost in purse.costs.values()] == [0]


@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_the_history_learns_from_an_end_that_was_told(service: Service, is_waited_for: bool) -> None:
    durations = DurationEstimator()
    generations = generations_of(engine_over(service.transport, durations=durations), SLOW)
    bought = await generations.create("kling-3-0", "A kite", params={"duration": 5})
    wait = asyncio.create_task(generations.wait_for(bought)) if is_waited_for else None
    await asyncio.sleep(5.0)
    for _ in range(3):  # once, however often it is told
        generations.settle(ended(bought.id, at=42.0))
    if wait is not None:
        await wait
    groups = durations.dump()["groups"]
    assert {name: group["ends"] for name, group in groups.items()} == {"kling-3-0?duration=5": 1, "kling-3-0": 1}


async def test_a_wait_that_does_not_learn_from_polls_does_not_from_what_is_told(service: Service) -> None:
    durations = DurationEstimator()
    policy = attrs.evolve(SLOW, adaptive=False)
    generations = generations_of(engine_over(service.transport, durations=durations), policy)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    generations.settle(ended())
    await wait
    assert not durations.dump()["groups"]


async def test_a_fault_of_what_learns_does_not_keep_a_wait_open(service: Service) -> None:
    class Broken(DurationEstimator):
        def observe(self, group: str, seconds: float, since: float = 0.0) -> None:
            raise ZeroDivisionError(group)

    generations = generations_of(engine_over(service.transport, durations=Broken()), SLOW)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    with pytest.raises(ZeroDivisionError):
        generations.settle(ended())
    assert (await wait).succeeded


async def test_a_wait_whose_service_does_not_answer_ends_by_what_is_told() -> None:
    def answer(request: Request) -> Reply:
        return job("task_1")

    transport = ScriptedTransport(answer)
    generations = generations_of(engine_over(transport), EVERY_SECOND)
    bought = await generations.create(JOB)
    transport.answer = never
    wait = asyncio.create_task(generations.wait_for(bought))
    await asyncio.sleep(30.0)
    generations.settle(ended())
    assert (await wait).succeeded
