"""Time-outs of attempts: never early, at most a look late, whatever the loop does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rivya_async._engine.http.watchdog import TimeoutScope, Watchdog
from tests.engine.virtual_time import now, running_loop

READ = 10.0
TOTAL = 30.0
LOOK = READ / 20


class Line:
    """A connection on which so many bytes wait to leave."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting = waiting

    def get_write_buffer_size(self) -> int:
        return self.waiting


class Bench:
    def __init__(self) -> None:
        self.watchdog = Watchdog(READ)
        self.patience = self.watchdog.tick_timeouts(total=TOTAL, read=READ)

    def attempt(self) -> TimeoutScope:
        return TimeoutScope(self.watchdog, self.patience)

    async def cut_after(self, happens: Callable[[TimeoutScope], object] = lambda _: None) -> float:
        """How long an attempt lives in which this happens at once, and then nothing."""

        async def wait(attempt: TimeoutScope) -> None:
            happens(attempt)
            await asyncio.sleep(1000)

        return await lived(self.attempt(), wait)


async def lived(attempt: TimeoutScope, goes_on: Callable[[TimeoutScope], Awaitable[None]]) -> float:
    """How long an attempt lives that goes on like this until it is cut."""
    began = now()
    with pytest.raises(TimeoutError), attempt:
        await goes_on(attempt)
    return now() - began


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_what_was_not_sent_is_bounded_by_the_total(bench: Bench) -> None:
    assert TOTAL <= await bench.cut_after() <= TOTAL + 2 * LOOK


async def test_what_was_sent_and_is_not_answered_is_bounded_by_the_read_time_out(bench: Bench) -> None:
    assert READ <= await bench.cut_after(lambda _: bench.watchdog.on_request_sent(Line())) <= READ + 2 * LOOK


async def test_a_transport_that_is_gone_is_no_reason_to_wait(bench: Bench) -> None:
    assert READ <= await bench.cut_after(lambda _: bench.watchdog.on_request_sent(None)) <= READ + 2 * LOOK


async def test_nothing_that_is_in_time_is_cut(bench: Bench) -> None:
    with bench.attempt():
        bench.watchdog.on_request_sent(Line())
        await asyncio.sleep(READ - LOOK)


async def test_pieces_of_an_answer_are_counted_from_one_to_the_next(bench: Bench) -> None:
    async def drip(attempt: TimeoutScope) -> None:
        bench.watchdog.on_request_sent(Line())
        while True:
            await asyncio.sleep(READ - LOOK)
            attempt.reset_read_timeout()

    assert TOTAL <= await lived(bench.attempt(), drip) <= TOTAL + 2 * LOOK


async def test_what_has_not_left_cannot_be_answered(bench: Bench) -> None:
    line = Line(waiting=70_000)
    running_loop().call_later(READ * 1.5, setattr, line, "waiting", 0)
    lived = await bench.cut_after(lambda _: bench.watchdog.on_request_sent(line))
    assert READ * 2.5 <= lived <= READ * 2.5 + 3 * LOOK


async def test_what_never_leaves_is_bounded_by_the_total(bench: Bench) -> None:
    lived = await bench.cut_after(lambda _: bench.watchdog.on_request_sent(Line(waiting=70_000)))
    assert TOTAL <= lived <= TOTAL + 2 * LOOK


async def test_a_loop_that_stood_still_reads_what_came_meanwhile(bench: Bench) -> None:
    with bench.attempt():
        bench.watchdog.on_request_sent(Line())
        await asyncio.sleep(LOOK)
        running_loop().advance(100 * READ)
        await asyncio.sleep(LOOK)


async def test_without_a_read_time_out_only_the_total_counts(bench: Bench) -> None:
    async def wait(_: TimeoutScope) -> None:
        bench.watchdog.on_request_sent(Line())
        await asyncio.sleep(1000)

    lives = await lived(TimeoutScope(bench.watchdog, bench.watchdog.tick_timeouts(total=TOTAL)), wait)
    assert TOTAL <= lives <= TOTAL + 2 * LOOK


async def test_looks_are_a_second_apart_at_most(bench: Bench) -> None:
    patient = Watchdog(600.0)
    attempt = TimeoutScope(patient, patient.tick_timeouts(total=600.0))
    assert 600.0 <= await lived(attempt, lambda _: asyncio.sleep(10_000)) <= 602.0


async def test_an_error_of_its_own_is_not_touched(bench: Bench) -> None:
    with pytest.raises(KeyError), bench.attempt():
        raise KeyError


async def test_a_cancelled_attempt_stays_cancelled(bench: Bench) -> None:
    task = asyncio.create_task(bench.cut_after())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not bench.watchdog.in_flight


async def test_cancelled_from_without_in_the_moment_of_the_cut(bench: Bench) -> None:
    attempts: list[TimeoutScope] = []
    task = asyncio.create_task(bench.cut_after(attempts.append))
    await asyncio.sleep(0)
    for _ in range(int(TOTAL / LOOK) + 2):
        attempts[0].tick()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cut_attempt_leaves_its_task_uncancelled(bench: Bench) -> None:
    await bench.cut_after()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(1)


async def test_what_ends_well_although_it_was_cut_ends_well(bench: Bench) -> None:
    with bench.attempt():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            answer = "came after all"
    assert answer
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_ten_thousand_attempts_cost_one_timer_and_leave_none(bench: Bench) -> None:
    before = running_loop().timers

    async def attempt() -> None:
        with bench.attempt():
            await released.wait()

    released = asyncio.Event()
    tasks = [asyncio.create_task(attempt()) for _ in range(10_000)]
    await asyncio.sleep(0)
    assert running_loop().timers == before + 1
    released.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(LOOK)
    assert running_loop().timers == before


async def test_a_request_of_nobody_is_sent_unwatched(bench: Bench) -> None:
    bench.watchdog.on_request_sent(Line())
    assert not bench.watchdog.in_flight
