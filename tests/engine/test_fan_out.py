"""Doing one thing to many items: bounded, in order or not, whatever the source and however the loop is left."""

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

from rivya_async._core.errors import ConfigurationError, GenerationFailedError, InsufficientCreditsError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.http.messages import Request
from rivya_async._engine.bounded_map import bounded_map
from tests.engine.engine_kit import (
    Reply,
    ScriptedTransport,
    Service,
    cancel,
    engine_over,
    failure_of,
    generations_of,
    job,
    refusal,
)
from tests.engine.virtual_time import now, run, settle


class Works:
    """Each item takes as many seconds as it says; counts who is at work."""

    def __init__(self) -> None:
        self.at_work = 0
        self.peak = 0
        self.begun: list[float] = []
        self.cancelled: list[float] = []

    async def __call__(self, seconds: float) -> float:
        self.begun.append(seconds)
        self.at_work += 1
        self.peak = max(self.peak, self.at_work)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(seconds)
            raise
        finally:
            self.at_work -= 1
        if seconds == 13:
            raise LookupError("13")
        return seconds


class Source:
    """Counts what was taken; `pause` seconds before each item if it is an async source."""

    def __init__(self, items: Iterable[float], *, pause: float = 0.0, fails: bool = False) -> None:
        self.items = items
        self.pause = pause
        self.fails = fails
        self.taken = 0
        self.closed = 0

    def plain(self) -> Iterator[float]:
        try:
            for item in self.items:
                self.taken += 1
                yield item
            if self.fails:
                raise OSError("the source broke")
        finally:
            self.closed += 1

    async def slow(self) -> AsyncIterator[float]:
        try:
            for item in self.plain():
                await asyncio.sleep(self.pause)
                yield item
        finally:
            self.closed += 1


async def outcome_of(
    source: Iterable[float] | AsyncIterable[float], works: Works, *, limit: int = 3, ordered: bool = False
) -> tuple[list[float], BaseException | None]:
    """What the loop yielded, and what it raised."""
    seen: list[float] = []
    try:
        async for result in bounded_map(source, works, limit=limit, ordered=ordered):
            seen.append(result)  # noqa: PERF401 - what came before the error is what matters
    except (LookupError, OSError) as error:
        return seen, error
    return seen, None


async def test_results_come_as_they_end() -> None:
    assert await outcome_of([3, 1, 2], Works()) == ([1, 2, 3], None)


async def test_or_in_the_order_of_the_source() -> None:
    works = Works()
    assert await outcome_of([5, 1, 2, 1], works, limit=2, ordered=True) == ([5, 1, 2, 1], None)
    assert now() == 5 + 2, "the head of the line holds up the rest: at most two are in memory"


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_empty_source(ordered: bool) -> None:
    assert await outcome_of([], Works(), ordered=ordered) == ([], None)
    assert await outcome_of(Source([], pause=1).slow(), Works(), ordered=ordered) == ([], None)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("limit", [1, 3])
async def test_at_most_limit_items_are_taken_and_not_handed_out(limit: int, ordered: bool) -> None:
    source = Source([1] * 20)
    handed_out = 0
    async for _ in bounded_map(source.plain(), Works(), limit=limit, ordered=ordered):
        handed_out += 1
        await asyncio.sleep(5)
        assert source.taken - handed_out + 1 <= limit
    assert (handed_out, source.taken) == (20, 20)


async def test_the_source_is_not_asked_before_there_is_room() -> None:
    source = Source([1] * 5)
    async with aclosing(bounded_map(source.plain(), Works(), limit=1, ordered=False)) as results:
        await anext(results)
        await asyncio.sleep(10)
        assert source.taken == 1, "the one that was handed out is still in the loop's hands"


async def test_an_infinite_source() -> None:
    def numbers() -> Iterator[float]:
        while True:
            yield 1

    seen = 0
    async for _ in bounded_map(numbers(), Works(), limit=10, ordered=False):
        seen += 1
        if seen == 100:
            break
    assert now() == 10
    gc.collect()
    await settle()


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_source_that_is_slower_than_the_work(ordered: bool) -> None:
    works = Works()
    source = Source([1, 1, 1, 1], pause=5)
    assert await outcome_of(source.slow(), works, ordered=ordered) == ([1, 1, 1, 1], None)
    assert now() == 21
    assert works.peak == 1


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("pause", [None, 0.5])
async def test_a_source_that_breaks_yields_what_was_taken_and_then_raises(pause: float | None, ordered: bool) -> None:
    source = Source([3, 1, 2], fails=True, pause=pause or 0)
    seen, error = await outcome_of(source.plain() if pause is None else source.slow(), Works(), ordered=ordered)
    assert sorted(seen) == [1, 2, 3]
    assert isinstance(error, OSError)


@pytest.mark.parametrize("ordered", [False, True])
async def test_work_that_raises_ends_the_loop_and_cancels_the_rest(ordered: bool) -> None:
    works = Works()
    seen, error = await outcome_of([1, 13, 20, 30], works, limit=4, ordered=ordered)
    assert (seen, type(error)) == ([1], LookupError)
    assert works.cancelled == [20, 30]


async def test_two_that_raise_leave_no_exception_behind() -> None:
    seen, error = await outcome_of([13, 13, 13], Works())
    assert (seen, type(error)) == ([], LookupError)


@pytest.mark.parametrize("kind", ["plain", "slow"])
async def test_leaving_early_cancels_what_is_left_and_closes_the_source(kind: str) -> None:
    works, source = Works(), Source([1, 50, 60, 70, 80], pause=0)
    items = source.plain() if kind == "plain" else source.slow()
    async with aclosing(bounded_map(items, works, limit=3, ordered=False)) as results:
        async for _ in results:
            break
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing runs once it is closed"
    assert sorted(works.cancelled) == [50, 60]
    assert source.taken <= 4
    del items
    await settle()
    assert source.closed == (1 if kind == "plain" else 2)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_loop_that_was_left_early_is_not_kept_in_memory(ordered: bool) -> None:
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


async def test_leaving_early_without_closing_cancels_too() -> None:
    works = Works()
    async for _ in bounded_map([1, 50, 60], works, limit=3, ordered=False):
        break
    gc.collect()
    await settle()
    assert sorted(works.cancelled) == [50, 60]


@pytest.mark.parametrize("at", [0, 0.5, 2.5, 4.5])
async def test_cancelling_from_outside_cancels_the_source_and_every_task(at: float) -> None:
    works = Works()
    looping = asyncio.create_task(outcome_of(Source([2, 50, 60, 70], pause=1).slow(), works, limit=10))
    await asyncio.sleep(at)
    await cancel(looping)
    assert looping.cancelled()
    assert works.at_work == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_twice_while_the_tasks_clean_up() -> None:
    cleaned = []

    async def stubborn(item: int) -> int:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            cleaned.append(item)
        return item

    async def loop() -> None:
        async for _ in bounded_map([1, 2], stubborn, limit=2, ordered=False):
            pass

    looping = asyncio.create_task(loop())
    await asyncio.sleep(1)
    looping.cancel()
    await asyncio.sleep(0.5)
    assert not looping.done()
    looping.cancel()
    assert isinstance(await failure_of(looping), asyncio.CancelledError)
    await settle()


async def test_a_generator_that_is_never_begun_takes_nothing() -> None:
    source = Source([1, 2, 3])
    results = bounded_map(source.plain(), Works(), limit=2, ordered=False)
    await settle()
    await results.aclose()
    assert source.taken == 0


@given(
    seconds=st.lists(st.integers(0, 9).map(float), max_size=30),
    limit=st.integers(1, 6),
    ordered=st.booleans(),
    pause=st.sampled_from([None, 0.0, 0.7]),
    consumer=st.sampled_from([0.0, 2.0]),
)
def test_every_item_is_worked_on_once(
    seconds: list[float], limit: int, ordered: bool, pause: float | None, consumer: float
) -> None:
    async def main() -> None:
        works, source = Works(), Source(seconds, pause=pause or 0.0)
        items = source.plain() if pause is None else source.slow()
        seen: list[float] = []
        async for result in bounded_map(items, works, limit=limit, ordered=ordered):
            seen.append(result)
            assert source.taken - len(seen) + 1 <= limit
            await asyncio.sleep(consumer)
        assert works.begun == seconds
        assert seen == seconds if ordered else sorted(seen) == sorted(seconds)
        assert works.peak <= limit

    run(main())


# --- map --------------------------------------------------------------------------------------------------------------


async def test_map_yields_an_outcome_for_each_request_and_no_failure_ends_the_others() -> None:
    def answer(request: Request) -> Reply:
        body = (request.body or b"").decode()
        if "poor" in body:
            return refusal(402, "insufficient_credits")
        if request.method == "POST":
            return job("task_bad" if "bad" in body else "task_good")
        return job("task_bad", "failed") if "bad" in request.path else job("task_good", "succeeded")

    generations = generations_of(engine_over(ScriptedTransport(answer)))
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


async def test_map_holds_back_the_source() -> None:
    service = Service(duration=10)
    taken = 0

    def requests() -> Iterator[GenerationRequest]:
        nonlocal taken
        for n in range(100):
            taken += 1
            yield GenerationRequest("z-image", f"Poster {n}")

    generations = generations_of(engine_over(service.transport))
    ended = 0
    async for outcome in generations.map(requests(), max_in_flight=7, ordered=False):
        assert taken - ended <= 7
        ended += 1
        assert outcome.ok
    assert ended == len(service.transport.purchases) == 100


async def test_a_map_that_is_left_early_stops_waiting_and_buys_no_more() -> None:
    service = Service(duration=10)
    engine = engine_over(service.transport)
    requests = (GenerationRequest("z-image", f"Poster {n}") for n in range(100))
    async with aclosing(generations_of(engine).map(requests, max_in_flight=5, ordered=False)) as outcomes:
        async for _ in outcomes:
            break
    bought = len(service.transport.purchases)
    assert bought <= 6
    assert engine.wait_registry._active == {}
    await asyncio.sleep(100)
    assert len(service.transport.purchases) == bought


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, None])
async def test_a_limit_that_makes_no_sense_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigurationError):
        generations_of(engine_over(Service().transport)).map([], max_in_flight=limit, ordered=False)
