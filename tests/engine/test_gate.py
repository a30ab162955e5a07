"""One bound, two lanes: no place is lost or given twice, whoever is cancelled and whenever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import RequestNotSentError
from rivya_async._engine.http.request_limiter import CALLS_PER_POLL, RequestLimiter
from rivya_async._engine.timer_queue import TimerQueue, Wakeup
from tests.engine.engine_kit import cancel
from tests.engine.virtual_time import run, settle


def gate_of(limit: int) -> RequestLimiter:
    return RequestLimiter(limit, TimerQueue(asyncio.get_running_loop()))


class Line:
    """Visitors of a gate, each a task that enters, is noted, and leaves when told."""

    def __init__(self, limit: int) -> None:
        self.gate = gate_of(limit)
        self.limit = limit
        self.inside: dict[str, asyncio.Event] = {}
        self.order: list[str] = []
        self.peak = 0
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def come(self, name: str, *, is_poll: bool = False) -> None:
        self.tasks[name] = asyncio.create_task(self._visit(name, is_poll=is_poll))

    async def go(self, name: str) -> None:
        self.inside[name].set()
        await settle(4)

    def cancel(self, name: str) -> None:
        self.tasks[name].cancel()

    async def _visit(self, name: str, *, is_poll: bool) -> None:
        if is_poll:
            await self._enter_as_poll()
        else:
            await self.gate.acquire()
        try:
            self.inside[name] = asyncio.Event()
            self.order.append(name)
            self.peak = max(self.peak, len(self.inside))
            await self.inside[name].wait()
        finally:
            del self.inside[name]
            self.gate.release()

    async def _enter_as_poll(self) -> None:
        turn = Wakeup(asyncio.get_running_loop())
        self.gate.enqueue_poll(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.was_woken:
                self.gate.release()
            raise

    async def empty(self) -> None:
        while self.inside:
            await self.go(next(iter(self.inside)))
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def assert_whole(self) -> None:
        """All places are free again: as many as the limit can enter, and no more."""
        fresh = Line(self.limit)
        fresh.gate = self.gate
        for n in range(self.limit + 1):
            fresh.come(str(n))
        await settle()
        assert len(fresh.inside) == self.limit
        await fresh.empty()


async def test_the_bound_holds_and_each_lane_is_served_in_its_order() -> None:
    line = Line(2)
    for n in range(6):
        line.come(f"call {n}")
    await settle()
    assert sorted(line.inside) == ["call 0", "call 1"]
    await line.empty()
    assert line.order == [f"call {n}" for n in range(6)]
    assert line.peak == 2
    await line.assert_whole()


async def test_every_fifth_place_is_a_polls_while_both_wait() -> None:
    line = Line(1)
    line.come("holder")
    await settle()
    for n in range(20):
        line.come(f"call {n}")
        line.come(f"poll {n}", is_poll=True)
    await settle()
    await line.empty()
    waited = line.order[1:]
    both = waited[: 20 + 20 // CALLS_PER_POLL]
    assert [name.startswith("poll") for name in both] == ([False] * CALLS_PER_POLL + [True]) * 5
    for kind in ("call", "poll"):
        assert [name for name in waited if name.startswith(kind)] == [f"{kind} {n}" for n in range(20)]


async def test_a_poll_does_not_wait_for_long_after_many_calls_alone() -> None:
    line = Line(1)
    for n in range(30):
        line.come(f"call {n}")
    await settle()
    for n in range(10):
        await line.go(f"call {n}")
    line.come("poll", is_poll=True)
    await settle()
    await line.empty()
    assert line.order.index("poll") <= 11 + CALLS_PER_POLL


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("is_poll", [False, True])
async def test_a_waiter_that_is_cancelled_at_any_moment_leaks_no_place(turns: int, is_poll: bool) -> None:
    line = Line(1)
    line.come("holder")
    await settle()
    line.come("waiter", is_poll=is_poll)
    line.come("next")
    await settle(turns)
    line.cancel("waiter")
    await settle(turns)
    await line.go("holder")
    await line.empty()
    assert "next" in line.order
    await line.assert_whole()


@pytest.mark.parametrize("turns", range(4))
async def test_cancelled_between_the_grant_and_waking_the_place_goes_to_the_next(turns: int) -> None:
    line = Line(1)
    line.come("holder")
    await settle()
    line.come("waiter")
    line.come("next")
    await settle()
    line.inside["holder"].set()
    for _ in range(turns):
        await asyncio.sleep(0)
    line.cancel("waiter")
    await settle()
    assert list(line.inside) == ["next"]
    await line.empty()
    await line.assert_whole()


async def test_cancelled_after_the_grant_while_the_gate_closes() -> None:
    gate = gate_of(1)
    await gate.acquire()
    waiter = asyncio.create_task(gate.acquire())
    await settle()
    gate.release()  # the waiter's from here on, though it has not woken
    closing = asyncio.create_task(gate.aclose())
    waiter.cancel()
    await closing
    assert waiter.cancelled()


async def test_close_turns_away_calls_forgets_polls_and_waits_for_who_is_in() -> None:
    line = Line(1)
    for name in ("holder", "call"):
        line.come(name)
    line.come("poll", is_poll=True)
    await settle()
    closing = asyncio.create_task(line.gate.aclose())
    await settle()
    assert isinstance(line.tasks["call"].exception(), RequestNotSentError)
    assert line.gate.queued_polls == 0
    await cancel(line.tasks["poll"])
    assert not closing.done()
    with pytest.raises(RequestNotSentError):
        await line.gate.acquire()
    await line.go("holder")
    await closing


async def test_who_was_granted_a_place_before_the_close_is_waited_for() -> None:
    gate = gate_of(1)
    await gate.acquire()
    granted = asyncio.create_task(gate.acquire())
    await settle()
    gate.release()
    closing = asyncio.create_task(gate.aclose())
    await settle()
    await granted
    assert not closing.done()
    gate.release()
    await closing


async def test_an_idle_gate_closes_at_once_and_again() -> None:
    gate = gate_of(3)
    await gate.aclose()
    await gate.aclose()


async def test_two_that_close_at_once_both_come_back() -> None:
    gate = gate_of(1)
    await gate.acquire()
    closings = [asyncio.create_task(gate.aclose()) for _ in range(2)]
    await settle()
    gate.release()
    await asyncio.gather(*closings)


async def test_a_closing_that_is_cancelled_can_be_begun_again() -> None:
    gate = gate_of(1)
    await gate.acquire()
    closing = asyncio.create_task(gate.aclose())
    await settle()
    await cancel(closing)
    again = asyncio.create_task(gate.aclose())
    await settle()
    gate.release()
    await again


STEPS = st.lists(st.tuples(st.sampled_from(["call", "poll", "go", "cancel", "turn"]), st.integers(0, 40)), max_size=80)


@given(limit=st.integers(1, 4), steps=STEPS, is_calm=st.booleans())
def test_no_place_is_lost_or_given_twice(limit: int, steps: list[tuple[str, int]], is_calm: bool) -> None:
    async def main() -> None:
        line = Line(limit)
        for number, (what, pick) in enumerate(steps):
            if what in {"call", "poll"}:
                line.come(f"{what} {number}", is_poll=what == "poll")
            elif what == "go" and line.inside:
                list(line.inside.values())[pick % len(line.inside)].set()
            elif what == "cancel" and line.tasks:
                line.cancel(list(line.tasks)[pick % len(line.tasks)])
            elif what == "turn":
                await settle(pick % 4)
            if is_calm:
                await settle(4)
            assert len(line.inside) <= limit
        await settle()
        free = limit - len(line.inside)
        waiting = [task for name, task in line.tasks.items() if name not in line.inside and not task.done()]
        assert not (free and waiting), "a place is free and somebody waits"
        for kind in ("call", "poll"):
            numbers = [int(name.split()[1]) for name in line.order if name.startswith(kind)]
            assert numbers == sorted(numbers) or not is_calm, "somebody overtook"
        await line.empty()
        await line.assert_whole()

    run(main())
