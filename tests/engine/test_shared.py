"""Doing a thing once for all who want it: who waits, who is cancelled, what is kept and for how long."""

from __future__ import annotations

import asyncio

import pytest

from rivya_async import RequestNotSentError, RivyaError
from rivya_async._engine.single_flight import SingleFlightCache
from tests.engine.engine_kit import cancel, failure_of
from tests.engine.virtual_time import settle


class Maker:
    """Makes one number after another, each in so many seconds."""

    def __init__(self, seconds: float = 1.0, error: RivyaError | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.made = 0
        self.cancelled = 0

    async def __call__(self) -> int:
        self.made += 1
        number = self.made
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return number


def shared(most: int = 10, seconds: float = 60.0) -> SingleFlightCache[str, int]:
    return SingleFlightCache(max_size=most, ttl=seconds)


async def test_all_who_ask_meanwhile_get_the_same() -> None:
    things, make = shared(), Maker()
    assert await asyncio.gather(*(things.get("a", make) for _ in range(5))) == [1] * 5
    assert await things.get("a", make) == 1
    assert await things.get("b", make) == 2


async def test_what_is_kept_is_kept_for_a_while() -> None:
    things, make = shared(seconds=60.0), Maker()
    await things.get("a", make)
    await asyncio.sleep(59.9)
    assert await things.get("a", make) == 1
    await asyncio.sleep(0.2)
    assert await things.get("a", make) == 2


async def test_the_one_asked_for_longest_ago_goes_first() -> None:
    things, make = shared(most=2), Maker()
    for key in ("a", "b", "a", "c"):
        await things.get(key, make)
    assert make.made == 3
    assert await things.get("a", make) == 1
    assert await things.get("b", make) == 4


async def test_a_failure_is_for_those_who_waited_and_for_each_a_copy() -> None:
    things, make = shared(), Maker(error=RequestNotSentError("no"))
    first, second = await asyncio.gather(*(things.get("a", make) for _ in range(2)), return_exceptions=True)
    assert isinstance(first, RequestNotSentError)
    assert isinstance(second, RequestNotSentError)
    assert first is not second
    first.add_note("mine")
    assert not hasattr(second, "__notes__")
    make.error = None
    assert await things.get("a", make) == 2


async def test_an_error_of_another_kind_is_raised_as_it_is() -> None:
    async def breaks() -> int:
        raise ZeroDivisionError

    assert isinstance(await failure_of(shared().get("a", breaks)), ZeroDivisionError)


async def test_one_cancelled_leaves_the_others() -> None:
    things, make = shared(), Maker()
    first, second = (asyncio.create_task(things.get("a", make)) for _ in range(2))
    await settle()
    await cancel(first)
    assert await second == 1
    assert (make.made, make.cancelled) == (1, 0)


async def test_with_the_last_of_them_it_is_cancelled_and_begun_anew_for_the_next() -> None:
    things, make = shared(), Maker()
    waiting = [asyncio.create_task(things.get("a", make)) for _ in range(3)]
    await settle()
    await cancel(*waiting)
    assert all(task.cancelled() for task in waiting)
    assert (make.made, make.cancelled) == (1, 1)
    assert await things.get("a", make) == 2


async def test_who_comes_while_the_old_one_is_being_cancelled_gets_a_new_one() -> None:
    things, made = shared(), 0

    async def slow_to_stop() -> int:
        nonlocal made
        made += 1
        number = made
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(1)
        return number

    old = asyncio.create_task(things.get("a", slow_to_stop))
    await settle()
    old.cancel()
    await settle()
    assert not old.done()
    assert await things.get("a", slow_to_stop) == 2
    assert old.cancelled()


async def test_one_timed_out_leaves_no_error_unretrieved() -> None:
    things, make = shared(), Maker(error=RequestNotSentError("no"))
    waiting = asyncio.create_task(things.get("a", make))
    await asyncio.sleep(1.0)  # at the very moment of the failure
    waiting.cancel()
    assert isinstance(await failure_of(waiting), RequestNotSentError | asyncio.CancelledError)


async def test_closing_waits_for_what_is_on_its_way() -> None:
    things, make = shared(), Maker()
    waiting = asyncio.create_task(things.get("a", make))
    await settle()
    await things.aclose()
    assert make.made == 1
    assert await waiting == 1
    await things.aclose()


@pytest.mark.parametrize("eager", [False, True])
async def test_what_needs_no_time_needs_none(eager: bool) -> None:
    async def at_once() -> int:
        return 7

    things = shared()
    factory = getattr(asyncio, "eager_task_factory", None)
    if eager and factory is None:
        pytest.skip("this Python has no eager tasks")
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory if eager else None)
    try:
        assert await things.get("a", at_once) == 7
        assert await things.get("a", Maker(error=RequestNotSentError("made twice"))) == 7
    finally:
        loop.set_task_factory(None)
