"""A verified webhook ends the waits for its job. Old, incomplete or inconsistent records do not."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from typing import Any

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
from rivya_async.resources.generations import Generations
from rivya_async.resources.job_operations import JobOperations
from rivya_async.resources.models import Models
from tests.engine.engine_kit import (
    DAY,
    JOB,
    Reply,
    ScriptedTransport,
    Service,
    cancel,
    create_engine,
    create_generations,
    error_from,
    ids,
    job_response,
    no_files,
    no_response,
    record,
    scripted_transport,
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


def generations_of(service: Service, poll: PollPolicy = SLOW) -> Generations:
    return create_generations(create_engine(service.transport), poll)


# --- every wait ends at once ------------------------------------------------------------------------------------------


async def test_webhook_ends_every_kind_of_wait_at_once(service: Service) -> None:
    generations = generations_of(service)

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
    received = await asyncio.gather(*waiting)
    assert now() == at
    assert ids(received) == ["task_1"] * 4 + ["task_2", "task_3"]
    assert all(each.urls for each in received)
    assert len(service.transport.polls) == polls == 0


async def test_failed_job_raises_as_after_a_poll(service: Service) -> None:
    generations = generations_of(service)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    generations.settle(ended(status="failed"))
    with pytest.raises(GenerationFailedError):
        await wait


async def test_nothing_is_kept_for_a_reported_job(service: Service) -> None:
    engine = create_engine(service.transport)
    generations = create_generations(engine, EVERY_SECOND)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.05)  # a poll is in flight
    generations.settle(ended())
    await wait
    polls = len(service.transport.polls)
    await asyncio.sleep(100.0)
    assert len(service.transport.polls) == polls
    await engine.aclose()


async def test_webhook_cancels_the_poll_of_its_job_only(service: Service) -> None:
    service.transport.latency = 3.0
    generations = generations_of(service, EVERY_SECOND)
    waits = [asyncio.create_task(generations.generate(GenerationRequest("z-image", str(n)))) for n in range(3)]
    await asyncio.sleep(5.0)
    assert service.transport.in_flight == 3
    generations.settle(ended("task_1"))
    await settle()
    assert (service.transport.in_flight, service.transport.cancelled) == (2, 1)
    service.ends_at.update(task_2=now(), task_3=now())
    assert ids(await asyncio.gather(*waits)) == ["task_1", "task_2", "task_3"]


# --- what changes nothing ---------------------------------------------------------------------------------------------


async def test_duplicate_webhook_changes_nothing(service: Service) -> None:
    generations = generations_of(service)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    assert generations.settle(ended())
    assert not generations.settle(ended())
    first = await wait
    assert not generations.settle(ended(at=11.0, status="failed"))  # nor does another end: the first one counts
    assert await generations.wait_for("task_1") == first


async def test_updates_follow_the_service_clock() -> None:
    transport = scripted_transport(job_response("task_1", "queued", 1.0))
    generations = create_generations(create_engine(transport), SLOW)
    received = [
        record("task_1", "processing", 5.0),
        record("task_1", "queued", 2.0),  # late
        record("task_1", "processing", 5.0),  # again
        record("task_1", "on_hold", 7.0),
        record("task_1", "processing", 6.0),  # late
    ]
    seen: list[str] = []
    wait = asyncio.create_task(generations.wait_for("task_1", on_update=lambda each: seen.append(each.status)))
    await asyncio.sleep(1.0)
    assert [generations.settle(each) for each in received] == [True, False, False, True, False]
    await settle()
    assert generations.settle(ended())
    await wait
    assert seen == ["queued", "processing", "on_hold", "succeeded"]


async def test_an_open_record_after_the_end_changes_nothing(service: Service) -> None:
    generations = generations_of(service)
    generations.settle(ended())
    assert not generations.settle(record("task_1", "processing", 99.0))
    assert (await generations.wait_for("task_1")).succeeded


async def test_open_record_without_waiters_is_not_kept(service: Service) -> None:
    assert not generations_of(service).settle(record("task_1", "processing", 5.0))


async def test_poll_in_flight_does_not_revert_a_webhook() -> None:
    transport = scripted_transport(job_response("task_1", "queued", 1.0), latency=2.0)
    generations = create_generations(create_engine(transport), SLOW)
    seen: list[str] = []
    wait = asyncio.create_task(generations.wait_for("task_1", on_update=lambda each: seen.append(each.status)))
    await asyncio.sleep(1.0)
    generations.settle(record("task_1", "processing", 5.0))
    await asyncio.sleep(5.0)
    assert seen == ["processing"]
    await cancel(wait)


# --- untrusted records ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "doubtful",
    [
        pytest.param(record("task_1", "succeeded", 10.0), id="a success without files"),
        pytest.param(ended(at=3.0), id="an end older than what was seen"),
        pytest.param(ended(at=3.0, status="failed"), id="a failure older than what was seen"),
    ],
)
async def test_inconsistent_end_is_verified_by_one_poll(doubtful: Generation) -> None:
    transport = scripted_transport(job_response("task_1", "processing", 5.0), job_response("task_1", "succeeded", 10.0))
    generations = create_generations(create_engine(transport, uniform=lambda: 0.5), SLOW)
    wait = asyncio.create_task(generations.wait_for("task_1"))
    await asyncio.sleep(20.0)
    at = now()
    assert not generations.settle(doubtful)
    assert not wait.done()
    assert (await wait).urls == ("http://files.test/task_1",)
    assert now() == at
    assert len(transport.polls) == 2


async def test_inconsistent_end_is_verified_after_a_poll_in_flight() -> None:
    transport = scripted_transport(
        job_response("task_1", "processing", 5.0), job_response("task_1", "succeeded", 10.0), latency=2.0
    )
    generations = create_generations(create_engine(transport), attrs.evolve(SLOW, floor=1))
    wait = asyncio.create_task(generations.wait_for("task_1"))
    for _ in range(3):
        await asyncio.sleep(0.5)
        generations.settle(record("task_1", "succeeded", 10.0))
    assert (await wait).urls
    first, second = transport.polls
    assert second.at - first.at == pytest.approx(2.0 + 1.0), "the answer took two seconds, and the floor is one"
    assert transport.cancelled == 0


async def test_success_without_files_ends_no_later_wait(service: Service) -> None:
    generations = generations_of(service, EVERY_SECOND)
    task_id = service.sell(duration=10.0)
    assert not generations.settle(record(task_id, "succeeded", 10.0))
    assert (await generations.wait_for(task_id)).urls
    assert now() >= 10.0


# --- earlier than the wait --------------------------------------------------------------------------------------------


async def test_end_before_the_submit_response_needs_no_poll(service: Service) -> None:
    service.transport.latency = 2.0
    generations = generations_of(service, EVERY_SECOND)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(1.0)
    assert generations.settle(ended("task_1"))
    assert (await wait).succeeded
    assert now() == 2.0
    assert not service.transport.polls


async def test_end_between_submit_and_wait_needs_no_poll(service: Service) -> None:
    generations = generations_of(service, EVERY_SECOND)
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


async def test_remembered_ends_are_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_registry, "MAX_WEBHOOK_RESULTS", 3)
    generations = generations_of(service, EVERY_SECOND)
    names = [service.sell(duration=0.0) for _ in range(5)]
    for task_id in names:
        generations.settle(ended(task_id))
    for task_id in names:
        await generations.wait_for(task_id)
    assert [sent.path.rpartition("/")[2] for sent in service.transport.polls] == names[:2]


async def test_webhook_reaches_a_later_wait(service: Service) -> None:
    generations = generations_of(service)
    bought = await generations.create(JOB)
    with pytest.raises(WaitTimeoutError):
        await generations.wait_for(bought, timeout=5.0)
    polls = len(service.transport.polls)
    assert generations.settle(ended(bought.id))
    assert (await generations.wait_for(bought)).succeeded
    assert len(service.transport.polls) == polls


async def test_webhook_after_polled_end_changes_nothing() -> None:
    transport = scripted_transport(job_response("task_1", "succeeded", 9.0), latency=5.0)
    generations = create_generations(create_engine(transport), SLOW)
    with pytest.raises(WaitTimeoutError):
        await generations.wait_for("task_1", timeout=1.0)
    await asyncio.sleep(10.0)
    assert not generations.settle(ended(at=9.0))
    assert (await generations.wait_for("task_1")).succeeded


# --- cancellation, closing, other loops -------------------------------------------------------------------------------


async def test_cancelled_wait_does_not_affect_others(service: Service) -> None:
    generations = generations_of(service)
    bought = await generations.create(JOB)
    gone, stays = (asyncio.create_task(generations.wait_for(bought)) for _ in range(2))
    await asyncio.sleep(5.0)
    gone.cancel()
    generations.settle(ended(bought.id))  # in the turn in which the other is cancelled
    assert (await stays).succeeded
    await cancel(gone)
    assert gone.cancelled()


async def test_webhook_after_close_changes_nothing(service: Service) -> None:
    engine = create_engine(service.transport)
    generations = create_generations(engine, SLOW)
    wait = asyncio.create_task(error_from(generations.generate(JOB)))
    await asyncio.sleep(5.0)
    await engine.aclose()
    assert not generations.settle(ended())
    assert isinstance(await wait, SessionClosedError)


async def test_webhook_just_before_close_counts(service: Service) -> None:
    engine = create_engine(service.transport)
    generations = create_generations(engine, SLOW)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    generations.settle(ended())
    await engine.aclose()
    assert (await wait).succeeded


@pytest.mark.parametrize("what", [None, "task_1", {"id": "task_1"}])
async def test_only_generations_are_accepted(service: Service, what: object) -> None:
    with pytest.raises(ConfigurationError, match="Generation of a webhook event"):
        generations_of(service).settle(what)  # type: ignore[arg-type]


async def test_error_in_a_thread_without_a_loop_has_advice(service: Service) -> None:
    generations = generations_of(service)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    raised: list[RivyaError] = []

    def settle_in_thread() -> None:
        try:
            generations.settle(ended())
        except ConfigurationError as error:
            raised.append(error)

    thread = threading.Thread(target=settle_in_thread)
    thread.start()
    thread.join()
    assert "call_soon_threadsafe" in str(raised[0])
    asyncio.get_running_loop().call_soon_threadsafe(generations.settle, ended())
    assert (await wait).succeeded


# --- statistics, costs, cleanup ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_early", [True, False])
async def test_job_without_waiters_settles_its_cost(service: Service, is_early: bool) -> None:
    service.transport.latency = 2.0
    engine, ledger = create_engine(service.transport), SpendLedger()
    preflight = PurchasePreflight(Models(lambda: engine).catalogue, ledger, new_key=lambda: "key-1")
    generations = Generations(JobOperations(lambda: engine, SLOW, preflight, no_files), engine.delivery_rate)
    end = attrs.evolve(ended(status="failed"), reserved_credits=4, final_credits=0)
    buying = asyncio.create_task(generations.create(JOB))
    await asyncio.sleep(1.0)
    if is_early:
        generations.settle(end)
    await buying
    if not is_early:
        generations.settle(end)
    assert not ledger.reserved
    assert [cost.final for cost in ledger.costs.values()] == [0]


@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_history_learns_from_webhooks(service: Service, is_waited_for: bool) -> None:
    durations = DurationEstimator()
    generations = create_generations(create_engine(service.transport, durations=durations), SLOW)
    bought = await generations.create("kling-3-0", "A kite", params={"duration": 5})
    wait = asyncio.create_task(generations.wait_for(bought)) if is_waited_for else None
    await asyncio.sleep(5.0)
    for _ in range(3):  # duplicates count once
        generations.settle(ended(bought.id, at=42.0))
    if wait is not None:
        await wait
    groups = durations.dump()["groups"]
    assert {name: group["ends"] for name, group in groups.items()} == {"kling-3-0?duration=5": 1, "kling-3-0": 1}


async def test_non_adaptive_wait_learns_nothing(service: Service) -> None:
    durations = DurationEstimator()
    policy = attrs.evolve(SLOW, adaptive=False)
    generations = create_generations(create_engine(service.transport, durations=durations), policy)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    generations.settle(ended())
    await wait
    assert not durations.dump()["groups"]


async def test_error_in_statistics_does_not_block_waits(service: Service) -> None:
    class Broken(DurationEstimator):
        def observe_end(self, group: str, *args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError(group)

    generations = create_generations(create_engine(service.transport, durations=Broken()), SLOW)
    wait = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(5.0)
    with pytest.raises(ZeroDivisionError):
        generations.settle(ended())
    assert (await wait).succeeded


async def test_webhook_ends_a_wait_for_a_silent_service() -> None:
    def answer(request: Request) -> Reply:
        return job_response("task_1")

    transport = ScriptedTransport(answer)
    generations = create_generations(create_engine(transport), EVERY_SECOND)
    bought = await generations.create(JOB)
    transport.answer = no_response
    wait = asyncio.create_task(generations.wait_for(bought))
    await asyncio.sleep(30.0)
    generations.settle(ended())
    assert (await wait).succeeded
