"""Timers fire in order, whichever are added or cancelled meanwhile."""

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
    """A target that records when it fires, then calls a function."""

    name: object
    log: list[tuple[object, float]]
    then: Callable[[], object] | None = None

    def fire(self) -> None:
        self.log.append((self.name, now()))
        if self.then is not None:
            self.then()


class TimerKit:
    def __init__(self) -> None:
        self.loop = running_loop()
        self.timer_queue = TimerQueue(self.loop)
        self.log: list[tuple[object, float]] = []

    def at(self, seconds: float, name: object = None, then: Callable[[], object] | None = None) -> TimerHandle:
        return self.timer_queue.call_at(START + seconds, Target(seconds if name is None else name, self.log, then))

    @property
    def fired(self) -> list[object]:
        return [name for name, _ in self.log]


@pytest.fixture
async def kit() -> TimerKit:
    return TimerKit()


async def test_fires_in_order_of_due_times_and_arrival(kit: TimerKit) -> None:
    for seconds, name in [(3, "c"), (1, "a"), (2, "b1"), (2, "b2"), (1, "a2")]:
        kit.at(seconds, name)
    await asyncio.sleep(10)
    assert kit.log == [("a", 1), ("a2", 1), ("b1", 2), ("b2", 2), ("c", 3)]
    assert len(kit.timer_queue) == 0


async def test_ten_thousand_entries_cost_one_timer(kit: TimerKit) -> None:
    before = kit.loop.timers
    for n in range(10_000):
        kit.at(1 + n % 97)
    assert kit.loop.timers == before + 1
    await asyncio.sleep(50)
    assert kit.loop.timers == before + 1
    await asyncio.sleep(50)
    assert (len(kit.log), kit.loop.timers) == (10_000, before)


async def test_earlier_entry_rearms_the_timer(kit: TimerKit) -> None:
    kit.at(100)
    await asyncio.sleep(5)
    kit.at(7)
    await asyncio.sleep(3)
    assert kit.log == [(7, 7)]
    await asyncio.sleep(100)
    assert kit.fired == [7, 100]


async def test_overdue_entry_fires_outside_of_the_call(kit: TimerKit) -> None:
    kit.at(-5)
    assert kit.fired == []
    await settle()
    assert kit.log == [(-5, 0)]


async def test_cancelled_entry_never_fires(kit: TimerKit) -> None:
    fires, lost = kit.at(1), kit.at(1, "lost")
    kit.timer_queue.cancel(lost)
    kit.timer_queue.cancel(lost)
    assert len(kit.timer_queue) == 1
    await asyncio.sleep(2)
    kit.timer_queue.cancel(fires)
    assert kit.fired == [1]
    assert len(kit.timer_queue) == 0


async def test_adds_entries_while_firing(kit: TimerKit) -> None:
    kit.at(1, "first", then=lambda: [kit.at(1, "same"), kit.at(0.5, "past"), kit.at(2, "later")])
    kit.at(1, "second")
    kit.at(3, "last")
    await asyncio.sleep(5)
    assert sorted(kit.log, key=lambda entry: entry[1]) == kit.log
    assert dict(kit.log) == {
        "first": 1, "second": 1, "same": 1, "past": 1, "later": 2, "last": 3,
    }  # fmt: skip
    assert kit.loop.timers == 0


async def test_cancels_entries_while_firing(kit: TimerKit) -> None:
    doomed: list[TimerHandle] = []

    def cancel_all() -> None:
        for entry in doomed:
            kit.timer_queue.cancel(entry)

    kit.at(1, "first", then=cancel_all)
    doomed += [kit.at(1, "doomed") for _ in range(3 * MAX_CANCELLED_ENTRIES)]
    kit.at(1, "second")
    kit.at(2, "third")
    await asyncio.sleep(5)
    assert kit.fired == ["first", "second", "third"]
    assert len(kit.timer_queue) == 0


async def test_cancelled_entries_are_bounded(kit: TimerKit) -> None:
    keep = [kit.at(1000 + n) for n in range(10)]
    for _ in range(10_000):
        kit.timer_queue.cancel(kit.at(500))
    assert len(kit.timer_queue) == len(keep)
    assert len(kit.timer_queue._heap) <= 2 * MAX_CANCELLED_ENTRIES + len(keep)
    await asyncio.sleep(2000)
    assert kit.fired == [1000 + n for n in range(10)]


async def test_stalled_loop_fires_timers_in_order(kit: TimerKit) -> None:
    for seconds in (5, 1, 3, 100):
        kit.at(seconds)
    kit.loop.advance(50)
    await settle()
    assert kit.log == [(1, 50), (3, 50), (5, 50)]


async def test_close_cancels_everything(kit: TimerKit) -> None:
    kit.at(1)
    kit.timer_queue.close()
    kit.timer_queue.close()
    assert kit.loop.timers == 0
    await asyncio.sleep(5)
    assert kit.fired == []


async def test_distant_entry_fires(kit: TimerKit) -> None:
    kit.at(10**7)
    await asyncio.sleep(10**7 + 1)
    assert kit.log == [(10**7, 10**7)]


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
def test_behaves_like_a_sorted_list(steps: list[Step]) -> None:
    async def main() -> None:
        kit = TimerKit()
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
                entries.append(kit.at(now() + value, len(entries)))
            elif what == "cancel" and entries:
                number = int(value * len(entries))
                alive.pop(number, None)
                kit.timer_queue.cancel(entries[number])
            elif what == "sleep":
                expected += naive_sleep(now() + value)
                await asyncio.sleep(value)
                await settle(3)
            assert len(kit.timer_queue) == len(alive) or what != "sleep"
            assert kit.loop.timers <= 1
        assert kit.fired == [number for number, _ in expected]
        assert all(at >= due for (_, at), (_, due) in zip(kit.log, expected, strict=True))
        kit.timer_queue.close()

    run(main())


async def test_slack_only_joins_due_entries(kit: TimerKit) -> None:
    for due, slack in ((1.0, 0.0), (1.04, 0.05), (1.2, 0.05)):
        kit.timer_queue.call_at(START + due, Target(due, kit.log), slack)
    await asyncio.sleep(2)
    assert kit.fired == [1.0, 1.04, 1.2]
    assert [at for _, at in kit.log] == pytest.approx([1.0, 1.0, 1.2])
