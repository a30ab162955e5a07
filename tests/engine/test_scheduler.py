"""One heap, one timer: due times fire in order, whatever is added or cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._engine.timer_queue import MAX_CANCELLED_ENTRIES, TimerHandle, TimerQueue
from rivya_async.testing.virtual_time import START
from tests.engine.virtual_time import now, run, running_loop, settle


@attrs.define
class Target:
    """Notes when it fires, then does what it is told."""

    name: object
    log: list[tuple[object, float]]
    then: Callable[[], object] | None = None

    def fire(self) -> None:
        self.log.append((self.name, now()))
        if self.then is not None:
            self.then()


class Bench:
    def __init__(self) -> None:
        self.loop = running_loop()
        self.scheduler = TimerQueue(self.loop)
        self.log: list[tuple[object, float]] = []

    def at(self, seconds: float, name: object = None, then: Callable[[], object] | None = None) -> TimerHandle:
        return self.scheduler.call_at(START + seconds, Target(seconds if name is None else name, self.log, then))

    @property
    def fired(self) -> list[object]:
        return [name for name, _ in self.log]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_fires_in_the_order_of_due_times_and_of_arrival(bench: Bench) -> None:
    for seconds, name in [(3, "c"), (1, "a"), (2, "b1"), (2, "b2"), (1, "a2")]:
        bench.at(seconds, name)
    await asyncio.sleep(10)
    assert bench.log == [("a", 1), ("a2", 1), ("b1", 2), ("b2", 2), ("c", 3)]
    assert len(bench.scheduler) == 0


async def test_ten_thousand_entries_cost_one_timer(bench: Bench) -> None:
    before = bench.loop.timers
    for n in range(10_000):
        bench.at(1 + n % 97)
    assert bench.loop.timers == before + 1
    await asyncio.sleep(50)
    assert bench.loop.timers == before + 1
    await asyncio.sleep(50)
    assert (len(bench.log), bench.loop.timers) == (10_000, before)


async def test_an_earlier_entry_arms_the_timer_anew(bench: Bench) -> None:
    bench.at(100)
    await asyncio.sleep(5)
    bench.at(7)
    await asyncio.sleep(3)
    assert bench.log == [(7, 7)]
    await asyncio.sleep(100)
    assert bench.fired == [7, 100]


async def test_what_is_overdue_fires_at_once_and_never_inside_the_call(bench: Bench) -> None:
    bench.at(-5)
    assert bench.fired == []
    await settle()
    assert bench.log == [(-5, 0)]


async def test_a_cancelled_entry_never_fires_and_a_fired_one_is_past_cancelling(bench: Bench) -> None:
    fires, lost = bench.at(1), bench.at(1, "lost")
    bench.scheduler.cancel(lost)
    bench.scheduler.cancel(lost)
    assert len(bench.scheduler) == 1
    await asyncio.sleep(2)
    bench.scheduler.cancel(fires)
    assert bench.fired == [1]
    assert len(bench.scheduler) == 0


async def test_entries_that_are_added_while_firing(bench: Bench) -> None:
    bench.at(1, "first", then=lambda: [bench.at(1, "same"), bench.at(0.5, "past"), bench.at(2, "later")])
    bench.at(1, "second")
    bench.at(3, "last")
    await asyncio.sleep(5)
    assert sorted(bench.log, key=lambda told: told[1]) == bench.log
    assert dict(bench.log) == {
        "first": 1, "second": 1, "same": 1, "past": 1, "later": 2, "last": 3,
    }  # fmt: skip
    assert bench.loop.timers == 0


async def test_entries_that_are_cancelled_while_firing_even_when_the_heap_is_rebuilt(bench: Bench) -> None:
    doomed: list[TimerHandle] = []

    def cancel_all() -> None:
        for entry in doomed:
            bench.scheduler.cancel(entry)

    bench.at(1, "first", then=cancel_all)
    doomed += [bench.at(1, "doomed") for _ in range(3 * MAX_CANCELLED_ENTRIES)]
    bench.at(1, "second")
    bench.at(2, "third")
    await asyncio.sleep(5)
    assert bench.fired == ["first", "second", "third"]
    assert len(bench.scheduler) == 0


async def test_the_dead_are_never_many_more_than_the_living(bench: Bench) -> None:
    keep = [bench.at(1000 + n) for n in range(10)]
    for _ in range(10_000):
        bench.scheduler.cancel(bench.at(500))
    assert len(bench.scheduler) == len(keep)
    assert len(bench.scheduler._heap) <= 2 * MAX_CANCELLED_ENTRIES + len(keep)
    await asyncio.sleep(2000)
    assert bench.fired == [1000 + n for n in range(10)]


async def test_a_stalled_loop_catches_up_in_order(bench: Bench) -> None:
    for seconds in (5, 1, 3, 100):
        bench.at(seconds)
    bench.loop.advance(50)
    await settle()
    assert bench.log == [(1, 50), (3, 50), (5, 50)]


async def test_close_forgets_everything(bench: Bench) -> None:
    bench.at(1)
    bench.scheduler.close()
    bench.scheduler.close()
    assert bench.loop.timers == 0
    await asyncio.sleep(5)
    assert bench.fired == []


async def test_a_far_due_time_comes(bench: Bench) -> None:
    bench.at(10**7)
    await asyncio.sleep(10**7 + 1)
    assert bench.log == [(10**7, 10**7)]


Step = tuple[str, float]
"""("at", seconds from now), ("cancel", share of the entries so far), ("sleep", seconds)"""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("at"), st.integers(-3, 30).map(float)),
        st.tuples(st.just("cancel"), st.floats(0, 0.999)),
        st.tuples(st.just("sleep"), st.integers(0, 12).map(float)),
    ),
    max_size=120,
)


@given(STEPS)
def test_it_does_what_a_naive_list_does(steps: list[Step]) -> None:
    async def main() -> None:
        bench = Bench()
        entries: list[TimerHandle] = []
        alive: dict[int, float] = {}
        expected: list[tuple[int, float]] = []

        def naive_sleep(until: float) -> Iterator[tuple[int, float]]:
            for number, due in sorted(alive.items(), key=lambda item: (item[1], item[0])):
                if due <= until:
                    del alive[number]
                    yield number, due

        for what, value in steps:
            if what == "at":
                alive[len(entries)] = now() + value
                entries.append(bench.at(now() + value, len(entries)))
            elif what == "cancel" and entries:
                number = int(value * len(entries))
                alive.pop(number, None)
                bench.scheduler.cancel(entries[number])
            elif what == "sleep":
                expected += naive_sleep(now() + value)
                await asyncio.sleep(value)
                await settle(3)
            assert len(bench.scheduler) == len(alive) or what != "sleep"
            assert bench.loop.timers <= 1
        assert bench.fired == [number for number, _ in expected]
        assert all(at >= due for (_, at), (_, due) in zip(bench.log, expected, strict=True))
        bench.scheduler.close()

    run(main())


async def test_what_may_come_early_comes_along_with_what_is_due_and_never_alone(bench: Bench) -> None:
    for due, slack in ((1.0, 0.0), (1.04, 0.05), (1.2, 0.05)):
        bench.scheduler.call_at(START + due, Target(due, bench.log), slack)
    await asyncio.sleep(2)
    assert bench.fired == [1.0, 1.04, 1.2]
    assert [at for _, at in bench.log] == pytest.approx([1.0, 1.0, 1.2])
