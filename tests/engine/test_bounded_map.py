"""`bounded_map` with sources of every kind, in order or not, ended at any time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import (
    ConfigurationError,
    GenerationFailedError,
    InsufficientCreditsError,
    SessionClosedError,
)
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.http.messages import Request
from rivya_async._core.policies import PollPolicy
from rivya_async._core.types.progress import Progress
from rivya_async._engine.bounded_map import bounded_map
from tests.engine.engine_kit import (
    Reply,
    ScriptedTransport,
    Service,
    cancel,
    create_engine,
    create_generations,
    error_from,
    error_response,
    job_response,
)
from tests.engine.virtual_time import now, run, settle


class Work:
    """Work that takes as many seconds as its item says, and counts what runs."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0
        self.started: list[float] = []
        self.cancelled: list[float] = []

    async def __call__(self, seconds: float) -> float:
        self.started.append(seconds)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(seconds)
            raise
        finally:
            self.running -= 1
        if seconds == 13:
            raise LookupError("13")
        return seconds


class Source:
    """A source that counts the items read from it. As an async source it sleeps `pause` seconds before each."""

    def __init__(self, items: Iterable[float], *, pause: float = 0.0, fails: bool = False) -> None:
        self.items = items
        self.pause = pause
        self.fails = fails
        self.items_read = 0
        self.closed = 0

    def sync_items(self) -> Iterator[float]:
        try:
            for item in self.items:
                self.items_read += 1
                yield item
            if self.fails:
                raise OSError("the source broke")
        finally:
            self.closed += 1

    async def async_items(self) -> AsyncIterator[float]:
        try:
            for item in self.sync_items():
                await asyncio.sleep(self.pause)
                yield item
        finally:
            self.closed += 1


async def outcome_of(
    source: Iterable[float] | AsyncIterable[float], work: Work, *, limit: int = 3, ordered: bool = False
) -> tuple[list[float], BaseException | None]:
    """Returns the results of the loop and its error."""
    seen: list[float] = []
    try:
        async for result in bounded_map(source, work, limit=limit, ordered=ordered):
            seen.append(result)  # noqa: PERF401 - the results before the error matter
    except (LookupError, OSError) as error:
        return seen, error
    return seen, None


async def test_yields_in_order_of_completion() -> None:
    assert await outcome_of([3, 1, 2], Work()) == ([1, 2, 3], None)


async def test_yields_in_order_of_source() -> None:
    work = Work()
    assert await outcome_of([5, 1, 2, 1], work, limit=2, ordered=True) == ([5, 1, 2, 1], None)
    assert now() == 5 + 2, "the head of the line holds up the rest: at most two are in memory"


@pytest.mark.parametrize("ordered", [False, True])
async def test_empty_source_yields_nothing(ordered: bool) -> None:
    assert await outcome_of([], Work(), ordered=ordered) == ([], None)
    assert await outcome_of(Source([], pause=1).async_items(), Work(), ordered=ordered) == ([], None)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("limit", [1, 3])
async def test_reads_at_most_limit_items_ahead(limit: int, ordered: bool) -> None:
    source = Source([1] * 20)
    handed_out = 0
    async for _ in bounded_map(source.sync_items(), Work(), limit=limit, ordered=ordered):
        handed_out += 1
        await asyncio.sleep(5)
        assert source.items_read - handed_out + 1 <= limit
    assert (handed_out, source.items_read) == (20, 20)


async def test_source_is_not_read_without_a_free_slot() -> None:
    source = Source([1] * 5)
    async with aclosing(bounded_map(source.sync_items(), Work(), limit=1, ordered=False)) as results:
        await anext(results)
        await asyncio.sleep(10)
        assert source.items_read == 1, "the one that was handed out is still in the loop's hands"


async def test_infinite_source_is_supported() -> None:
    def numbers() -> Iterator[float]:
        while True:
            yield 1

    seen = 0
    async for _ in bounded_map(numbers(), Work(), limit=10, ordered=False):
        seen += 1
        if seen == 100:
            break
    assert now() == 10
    gc.collect()
    await settle()


@pytest.mark.parametrize("ordered", [False, True])
async def test_slow_source_does_not_block_results(ordered: bool) -> None:
    work = Work()
    source = Source([1, 1, 1, 1], pause=5)
    assert await outcome_of(source.async_items(), work, ordered=ordered) == ([1, 1, 1, 1], None)
    assert now() == 21
    assert work.peak == 1


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("pause", [None, 0.5])
async def test_source_error_follows_earlier_results(pause: float | None, ordered: bool) -> None:
    source = Source([3, 1, 2], fails=True, pause=pause or 0)
    seen, error = await outcome_of(
        source.sync_items() if pause is None else source.async_items(), Work(), ordered=ordered
    )
    assert sorted(seen) == [1, 2, 3]
    assert isinstance(error, OSError)


@pytest.mark.parametrize("ordered", [False, True])
async def test_work_error_cancels_the_rest(ordered: bool) -> None:
    work = Work()
    seen, error = await outcome_of([1, 13, 20, 30], work, limit=4, ordered=ordered)
    assert (seen, type(error)) == ([1], LookupError)
    assert work.cancelled == [20, 30]


async def test_two_errors_leave_none_unretrieved() -> None:
    seen, error = await outcome_of([13, 13, 13], Work())
    assert (seen, type(error)) == ([], LookupError)


@pytest.mark.parametrize("kind", ["sync_items", "async_items"])
async def test_leaving_cancels_work_and_closes_the_source(kind: str) -> None:
    work, source = Work(), Source([1, 50, 60, 70, 80], pause=0)
    items = source.sync_items() if kind == "sync_items" else source.async_items()
    async with aclosing(bounded_map(items, work, limit=3, ordered=False)) as results:
        async for _ in results:
            break
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing runs once it is closed"
    assert sorted(work.cancelled) == [50, 60]
    assert source.items_read <= 4
    del items
    await settle()
    assert source.closed == (1 if kind == "sync_items" else 2)


@pytest.mark.parametrize("ordered", [False, True])
async def test_left_loop_is_garbage_collected(ordered: bool) -> None:
    class Item:
        """Something to see die."""

    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def items() -> Iterator[Item]:
        while True:
            alive.add(item := Item())
            yield item

    async def work(item: Item) -> int:
        await asyncio.sleep(len(alive))
        return 1

    async with aclosing(bounded_map(items(), work, limit=5, ordered=ordered)) as results:
        async for _ in results:
            break
    await settle()
    assert len(alive) == 0


async def test_abandoned_loop_cancels_work() -> None:
    work = Work()
    async for _ in bounded_map([1, 50, 60], work, limit=3, ordered=False):
        break
    gc.collect()
    await settle()
    assert sorted(work.cancelled) == [50, 60]


@pytest.mark.parametrize("at", [0, 0.5, 2.5, 4.5])
async def test_cancellation_cancels_source_and_tasks(at: float) -> None:
    work = Work()
    looping = asyncio.create_task(outcome_of(Source([2, 50, 60, 70], pause=1).async_items(), work, limit=10))
    await asyncio.sleep(at)
    await cancel(looping)
    assert looping.cancelled()
    assert work.running == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_twice_while_the_tasks_clean_up() -> None:
    cleaned = []

    async def clean_up_slowly(item: int) -> int:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            cleaned.append(item)
        return item

    async def loop() -> None:
        async for _ in bounded_map([1, 2], clean_up_slowly, limit=2, ordered=False):
            pass

    looping = asyncio.create_task(loop())
    await asyncio.sleep(1)
    looping.cancel()
    await asyncio.sleep(0.5)
    assert not looping.done()
    looping.cancel()
    assert isinstance(await error_from(looping), asyncio.CancelledError)
    await settle()


async def test_unstarted_generator_reads_nothing() -> None:
    source = Source([1, 2, 3])
    results = bounded_map(source.sync_items(), Work(), limit=2, ordered=False)
    await settle()
    await results.aclose()
    assert source.items_read == 0


@given(
    seconds=st.lists(st.integers(0, 9).map(float), max_size=30),
    limit=st.integers(1, 6),
    ordered=st.booleans(),
    pause=st.sampled_from([None, 0.0, 0.7]),
    consumer=st.sampled_from([0.0, 2.0]),
)
def test_each_item_is_processed_once(
    seconds: list[float], limit: int, ordered: bool, pause: float | None, consumer: float
) -> None:
    async def main() -> None:
        work, source = Work(), Source(seconds, pause=pause or 0.0)
        items = source.sync_items() if pause is None else source.async_items()
        seen: list[float] = []
        async for result in bounded_map(items, work, limit=limit, ordered=ordered):
            seen.append(result)
            assert source.items_read - len(seen) + 1 <= limit
            await asyncio.sleep(consumer)
        assert work.started == seconds
        assert seen == seconds if ordered else sorted(seen) == sorted(seconds)
        assert work.peak <= limit

    run(main())


# --- map --------------------------------------------------------------------------------------------------------------


async def test_map_isolates_failures() -> None:
    def answer(request: Request) -> Reply:
        body = (request.body or b"").decode()
        if "poor" in body:
            return error_response(402, "insufficient_credits")
        if request.method == "POST":
            return job_response("task_bad" if "bad" in body else "task_good")
        return job_response("task_bad", "failed") if "bad" in request.path else job_response("task_good", "succeeded")

    generations = create_generations(create_engine(ScriptedTransport(answer)))
    requests = [GenerationRequest("z-image", prompt) for prompt in ("good", "bad", "poor", "good again")]
    outcomes = [outcome async for outcome in generations.map(requests, max_in_flight=4, ordered=True)]
    assert [outcome.ok for outcome in outcomes] == [True, False, False, True]
    assert [outcome.request for outcome in outcomes] == requests
    failed, poor = outcomes[1], outcomes[2]
    assert isinstance(failed.error, GenerationFailedError)
    assert failed.generation is not None
    assert failed.generation.failed
    assert isinstance(poor.error, InsufficientCreditsError)
    assert poor.error.idempotency_key
    with pytest.raises(InsufficientCreditsError):
        poor.unwrap()


async def test_map_bounds_the_source() -> None:
    service = Service(duration=10)
    items_read = 0

    def requests() -> Iterator[GenerationRequest]:
        nonlocal items_read
        for n in range(100):
            items_read += 1
            yield GenerationRequest("z-image", f"Poster {n}")

    generations = create_generations(create_engine(service.transport))
    ended = 0
    async for outcome in generations.map(requests(), max_in_flight=7, ordered=False):
        assert items_read - ended <= 7
        ended += 1
        assert outcome.ok
    assert ended == len(service.transport.purchases) == 100


async def test_leaving_map_stops_purchases() -> None:
    service = Service(duration=10)
    engine = create_engine(service.transport)
    requests = (GenerationRequest("z-image", f"Poster {n}") for n in range(100))
    async with aclosing(create_generations(engine).map(requests, max_in_flight=5, ordered=False)) as outcomes:
        async for _ in outcomes:
            break
    bought = len(service.transport.purchases)
    assert bought <= 6
    assert engine.wait_registry._active == {}
    await asyncio.sleep(100)
    assert len(service.transport.purchases) == bought


async def test_cancelled_map_names_keys_of_purchases_in_flight() -> None:
    service = Service(duration=10, latency=1.0)
    generations = create_generations(create_engine(service.transport))
    requests = [GenerationRequest("z-image", "One"), GenerationRequest("z-image", "Two", idempotency_key="order-2")]

    async def run() -> None:
        async for _ in generations.map(requests, max_in_flight=2):
            pass

    work = asyncio.create_task(run())
    await asyncio.sleep(0.5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await work
    first, second = sorted(caught.value.__notes__)
    assert first.startswith("request 1: ")
    assert "idempotency_key='key-" in first
    assert second.startswith("request 2: ")
    assert "idempotency_key='order-2'" in second


async def test_cancelled_map_names_ended_jobs() -> None:
    generations = create_generations(create_engine(Service(duration=10).transport))

    async def block_after_first(progress: Progress) -> None:
        if progress.done:
            await asyncio.sleep(1000)

    async def run() -> None:
        async for _ in generations.map([GenerationRequest("z-image", "One")], on_progress=block_after_first):
            pass

    work = asyncio.create_task(run())
    await asyncio.sleep(100)
    work.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await work
    assert caught.value.__notes__ == ["request 1: task_1 is bought and has ended"]


async def test_replayed_purchase_of_ended_job_is_not_open() -> None:
    generations = create_generations(create_engine(Service(duration=10).transport))
    job = await generations.submit("z-image", "One", idempotency_key="order-1")
    await generations.wait_for(job)
    again = await generations.submit("z-image", "One", idempotency_key="order-1")
    assert (again.id, again.status) == (job.id, "queued")
    assert len(generations._jobs.preflight.open_jobs) == 0


async def test_purchase_that_waits_for_a_running_job_names_no_other_job_when_the_session_closes() -> None:
    jobs: list[str] = []

    def answer(request: Request) -> Reply:
        if request.method == "GET" or not jobs:
            jobs.append(request.path)
            return job_response("task_1", "processing")
        return error_response(429, "rate_limited")

    engine = create_engine(ScriptedTransport(answer))
    poll = PollPolicy(first=0.05, base=0.05, cap=0.1, floor=0.05, adaptive=False)
    generations = create_generations(engine, poll, knows_open_jobs=True)
    wait = asyncio.create_task(generations.wait_for(await generations.submit("z-image", "One")))
    submit = asyncio.create_task(generations.submit("z-image", "Two"))
    await asyncio.sleep(60)
    await engine.aclose()
    error = await error_from(submit)
    assert isinstance(error, SessionClosedError)
    assert error.task_id is None
    waiting = await error_from(wait)
    assert isinstance(waiting, SessionClosedError)
    assert waiting.task_id == "task_1"


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, None])
async def test_invalid_limit_is_rejected(limit: Any) -> None:
    with pytest.raises(ConfigurationError):
        await anext(create_generations(create_engine(Service().transport)).map([], max_in_flight=limit))
