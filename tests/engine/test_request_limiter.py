"""The limiter loses no slot and gives none twice, whichever request is cancelled."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import SessionClosedError
from rivya_async._engine.http.request_limiter import CALLS_PER_POLL, RequestLimiter
from rivya_async._engine.timer_queue import TimerQueue, Wakeup
from tests.engine.engine_kit import cancel
from tests.engine.virtual_time import run, settle


def create_limiter(limit: int) -> RequestLimiter:
    return RequestLimiter(limit, TimerQueue(asyncio.get_running_loop()))


class SlotHolders:
    """Tasks that hold a slot of a limiter until they are released."""

    def __init__(self, limit: int) -> None:
        self.limiter = create_limiter(limit)
        self.limit = limit
        self.holding: dict[str, asyncio.Event] = {}
        self.order: list[str] = []
        self.peak = 0
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, *, is_poll: bool = False) -> None:
        self.tasks[name] = asyncio.create_task(self._hold_slot(name, is_poll=is_poll))

    async def finish(self, name: str) -> None:
        self.holding[name].set()
        await settle(4)

    def cancel(self, name: str) -> None:
        self.tasks[name].cancel()

    async def _hold_slot(self, name: str, *, is_poll: bool) -> None:
        if is_poll:
            await self._acquire_as_poll()
        else:
            await self.limiter.acquire()
        try:
            self.holding[name] = asyncio.Event()
            self.order.append(name)
            self.peak = max(self.peak, len(self.holding))
            await self.holding[name].wait()
        finally:
            del self.holding[name]
            self.limiter.release()

    async def _acquire_as_poll(self) -> None:
        turn = Wakeup(asyncio.get_running_loop())
        self.limiter.enqueue_poll(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.was_woken:
                self.limiter.release()
            raise

    async def empty(self) -> None:
        while self.holding:
            await self.finish(next(iter(self.holding)))
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def assert_all_slots_free(self) -> None:
        """Asserts that exactly as many tasks as the limit can acquire a slot."""
        fresh = SlotHolders(self.limit)
        fresh.limiter = self.limiter
        for n in range(self.limit + 1):
            fresh.start(str(n))
        await settle()
        assert len(fresh.holding) == self.limit
        await fresh.empty()


async def test_limit_holds_and_queues_are_fifo() -> None:
    holders = SlotHolders(2)
    for n in range(6):
        holders.start(f"call {n}")
    await settle()
    assert sorted(holders.holding) == ["call 0", "call 1"]
    await holders.empty()
    assert holders.order == [f"call {n}" for n in range(6)]
    assert holders.peak == 2
    await holders.assert_all_slots_free()


async def test_every_fifth_slot_goes_to_a_poll() -> None:
    holders = SlotHolders(1)
    holders.start("holder")
    await settle()
    for n in range(20):
        holders.start(f"call {n}")
        holders.start(f"poll {n}", is_poll=True)
    await settle()
    await holders.empty()
    waited = holders.order[1:]
    both = waited[: 20 + 20 // CALLS_PER_POLL]
    assert [name.startswith("poll") for name in both] == ([False] * CALLS_PER_POLL + [True]) * 5
    for kind in ("call", "poll"):
        assert [name for name in waited if name.startswith(kind)] == [f"{kind} {n}" for n in range(20)]


async def test_poll_is_not_delayed_by_earlier_calls() -> None:
    holders = SlotHolders(1)
    for n in range(30):
        holders.start(f"call {n}")
    await settle()
    for n in range(10):
        await holders.finish(f"call {n}")
    holders.start("poll", is_poll=True)
    await settle()
    await holders.empty()
    assert holders.order.index("poll") <= 11 + CALLS_PER_POLL


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("is_poll", [False, True])
async def test_cancelled_waiter_leaks_no_slot(turns: int, is_poll: bool) -> None:
    holders = SlotHolders(1)
    holders.start("holder")
    await settle()
    holders.start("waiter", is_poll=is_poll)
    holders.start("next")
    await settle(turns)
    holders.cancel("waiter")
    await settle(turns)
    await holders.finish("holder")
    await holders.empty()
    assert "next" in holders.order
    await holders.assert_all_slots_free()


@pytest.mark.parametrize("turns", range(4))
async def test_cancelled_grant_passes_to_the_next(turns: int) -> None:
    holders = SlotHolders(1)
    holders.start("holder")
    await settle()
    holders.start("waiter")
    holders.start("next")
    await settle()
    holders.holding["holder"].set()
    for _ in range(turns):
        await asyncio.sleep(0)
    holders.cancel("waiter")
    await settle()
    assert list(holders.holding) == ["next"]
    await holders.empty()
    await holders.assert_all_slots_free()


async def test_cancelled_after_the_grant_while_closing() -> None:
    limiter = create_limiter(1)
    await limiter.acquire()
    waiter = asyncio.create_task(limiter.acquire())
    await settle()
    limiter.release()  # the waiter's from here on, though it has not woken
    closing = asyncio.create_task(limiter.aclose())
    waiter.cancel()
    await closing
    assert waiter.cancelled()


async def test_close_rejects_queues_and_waits_for_holders() -> None:
    holders = SlotHolders(1)
    for name in ("holder", "call"):
        holders.start(name)
    holders.start("poll", is_poll=True)
    await settle()
    closing = asyncio.create_task(holders.limiter.aclose())
    await settle()
    assert isinstance(holders.tasks["call"].exception(), SessionClosedError)
    assert not holders.limiter._poll_queue
    await cancel(holders.tasks["poll"])
    assert not closing.done()
    with pytest.raises(SessionClosedError):
        await holders.limiter.acquire()
    await holders.finish("holder")
    await closing


async def test_close_waits_for_granted_slots() -> None:
    limiter = create_limiter(1)
    await limiter.acquire()
    granted = asyncio.create_task(limiter.acquire())
    await settle()
    limiter.release()
    closing = asyncio.create_task(limiter.aclose())
    await settle()
    await granted
    assert not closing.done()
    limiter.release()
    await closing


async def test_idle_limiter_closes_at_once() -> None:
    limiter = create_limiter(3)
    await limiter.aclose()
    await limiter.aclose()


async def test_concurrent_closes_return() -> None:
    limiter = create_limiter(1)
    await limiter.acquire()
    closings = [asyncio.create_task(limiter.aclose()) for _ in range(2)]
    await settle()
    limiter.release()
    await asyncio.gather(*closings)


async def test_cancelled_close_can_be_repeated() -> None:
    limiter = create_limiter(1)
    await limiter.acquire()
    closing = asyncio.create_task(limiter.aclose())
    await settle()
    await cancel(closing)
    again = asyncio.create_task(limiter.aclose())
    await settle()
    limiter.release()
    await again


STEPS = st.lists(
    st.tuples(st.sampled_from(["call", "poll", "finish", "cancel", "turn"]), st.integers(0, 40)), max_size=80
)


@given(limit=st.integers(1, 4), steps=STEPS, is_calm=st.booleans())
def test_no_slot_is_lost_or_given_twice(limit: int, steps: list[tuple[str, int]], is_calm: bool) -> None:
    async def main() -> None:
        holders = SlotHolders(limit)
        for number, (what, pick) in enumerate(steps):
            if what in {"call", "poll"}:
                holders.start(f"{what} {number}", is_poll=what == "poll")
            elif what == "finish" and holders.holding:
                list(holders.holding.values())[pick % len(holders.holding)].set()
            elif what == "cancel" and holders.tasks:
                holders.cancel(list(holders.tasks)[pick % len(holders.tasks)])
            elif what == "turn":
                await settle(pick % 4)
            if is_calm:
                await settle(4)
            assert len(holders.holding) <= limit
        await settle()
        free = limit - len(holders.holding)
        waiting = [task for name, task in holders.tasks.items() if name not in holders.holding and not task.done()]
        assert not (free and waiting), "a slot is free while a request waits"
        for kind in ("call", "poll"):
            numbers = [int(name.split()[1]) for name in holders.order if name.startswith(kind)]
            assert numbers == sorted(numbers) or not is_calm, "somebody overtook"
        await holders.empty()
        await holders.assert_all_slots_free()

    run(main())
