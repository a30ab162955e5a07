"""The single-flight cache: waiters, cancellation, size and expiry."""

from __future__ import annotations

import asyncio

import pytest

from rivya_async import RequestNotSentError, RivyaError
from rivya_async._engine.single_flight import SingleFlightCache
from tests.engine.engine_kit import cancel, error_from
from tests.engine.virtual_time import settle


class NumberFactory:
    """Produces ascending numbers, each after a delay."""

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


def create_cache(most: int = 10, seconds: float = 60.0) -> SingleFlightCache[str, int]:
    return SingleFlightCache(max_size=most, ttl=seconds)


async def test_concurrent_callers_share_one_call() -> None:
    things, make = create_cache(), NumberFactory()
    assert await asyncio.gather(*(things.get("a", make) for _ in range(5))) == [1] * 5
    assert await things.get("a", make) == 1
    assert await things.get("b", make) == 2


async def test_result_is_cached_until_it_expires() -> None:
    things, make = create_cache(seconds=60.0), NumberFactory()
    await things.get("a", make)
    await asyncio.sleep(59.9)
    assert await things.get("a", make) == 1
    await asyncio.sleep(0.2)
    assert await things.get("a", make) == 2


async def test_least_recently_used_entry_is_dropped() -> None:
    things, make = create_cache(most=2), NumberFactory()
    for key in ("a", "b", "a", "c"):
        await things.get(key, make)
    assert make.made == 3
    assert await things.get("a", make) == 1
    assert await things.get("b", make) == 4


async def test_each_waiter_gets_a_copy_of_the_error() -> None:
    things, make = create_cache(), NumberFactory(error=RequestNotSentError("no"))
    first, second = await asyncio.gather(*(things.get("a", make) for _ in range(2)), return_exceptions=True)
    assert isinstance(first, RequestNotSentError)
    assert isinstance(second, RequestNotSentError)
    assert first is not second
    first.add_note("mine")
    assert not hasattr(second, "__notes__")
    make.error = None
    assert await things.get("a", make) == 2


async def test_other_errors_are_not_copied() -> None:
    async def fail() -> int:
        raise ZeroDivisionError

    assert isinstance(await error_from(create_cache().get("a", fail)), ZeroDivisionError)


async def test_cancelled_caller_does_not_affect_others() -> None:
    things, make = create_cache(), NumberFactory()
    first, second = (asyncio.create_task(things.get("a", make)) for _ in range(2))
    await settle()
    await cancel(first)
    assert await second == 1
    assert (make.made, make.cancelled) == (1, 0)


async def test_last_cancelled_caller_cancels_the_call() -> None:
    things, make = create_cache(), NumberFactory()
    waiting = [asyncio.create_task(things.get("a", make)) for _ in range(3)]
    await settle()
    await cancel(*waiting)
    assert all(task.cancelled() for task in waiting)
    assert (make.made, make.cancelled) == (1, 1)
    assert await things.get("a", make) == 2


async def test_caller_during_cancellation_starts_a_new_call() -> None:
    things, made = create_cache(), 0

    async def clean_up_slowly() -> int:
        nonlocal made
        made += 1
        number = made
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(1)
        return number

    old = asyncio.create_task(things.get("a", clean_up_slowly))
    await settle()
    old.cancel()
    await settle()
    assert not old.done()
    assert await things.get("a", clean_up_slowly) == 2
    assert old.cancelled()


async def test_timeout_leaves_no_unretrieved_error() -> None:
    things, make = create_cache(), NumberFactory(error=RequestNotSentError("no"))
    waiting = asyncio.create_task(things.get("a", make))
    await asyncio.sleep(1.0)  # at the very moment of the failure
    waiting.cancel()
    assert isinstance(await error_from(waiting), RequestNotSentError | asyncio.CancelledError)


async def test_close_waits_for_calls_in_flight() -> None:
    things, make = create_cache(), NumberFactory()
    waiting = asyncio.create_task(things.get("a", make))
    await settle()
    await things.aclose()
    assert make.made == 1
    assert await waiting == 1
    await things.aclose()


@pytest.mark.parametrize("eager", [False, True])
async def test_immediate_result_needs_no_wait(eager: bool) -> None:
    async def return_at_once() -> int:
        return 7

    things = create_cache()
    factory = getattr(asyncio, "eager_task_factory", None)
    if eager and factory is None:
        pytest.skip("this Python has no eager tasks")
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory if eager else None)
    try:
        assert await things.get("a", return_at_once) == 7
        assert await things.get("a", NumberFactory(error=RequestNotSentError("made twice"))) == 7
    finally:
        loop.set_task_factory(None)
