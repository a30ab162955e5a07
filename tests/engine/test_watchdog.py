"""Timeouts of requests: never early, and at most one tick late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rivya_async import Timeouts
from rivya_async._engine.http.watchdog import AttemptTimeouts, TimeoutScope, Watchdog
from tests.engine.virtual_time import now, running_loop

READ = 10.0
TOTAL = 30.0
TICK = READ / 20


class Connection:
    """A connection with a number of unsent bytes."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting = waiting

    def get_write_buffer_size(self) -> int:
        return self.waiting


class WatchdogKit:
    def __init__(self) -> None:
        self.watchdog = Watchdog()
        self.watchdog.allow(Timeouts(read=READ, total=TOTAL))
        self.timeouts = AttemptTimeouts(TOTAL, READ)

    def scope(self) -> TimeoutScope:
        return TimeoutScope(self.watchdog, self.timeouts)

    async def seconds_until_timeout(self, event: Callable[[TimeoutScope], object] = lambda _: None) -> float:
        """Returns after how many seconds a request is cancelled if only this event, at its start."""

        async def wait(scope: TimeoutScope) -> None:
            event(scope)
            await asyncio.sleep(1000)

        return await seconds_in_scope(self.scope(), wait)


async def seconds_in_scope(scope: TimeoutScope, continue_with: Callable[[TimeoutScope], Awaitable[None]]) -> float:
    """Returns after how many seconds the watchdog cancels a request that continues with this function."""
    started = now()
    with pytest.raises(TimeoutError), scope:
        await continue_with(scope)
    return now() - started


@pytest.fixture
async def kit() -> WatchdogKit:
    return WatchdogKit()


async def test_total_timeout_bounds_an_unsent_request(kit: WatchdogKit) -> None:
    assert TOTAL <= await kit.seconds_until_timeout() <= TOTAL + 2 * TICK


async def test_read_timeout_bounds_a_sent_request(kit: WatchdogKit) -> None:
    assert (
        READ <= await kit.seconds_until_timeout(lambda _: kit.watchdog.on_request_sent(Connection())) <= READ + 2 * TICK
    )


async def test_closed_transport_does_not_extend_the_timeout(kit: WatchdogKit) -> None:
    assert READ <= await kit.seconds_until_timeout(lambda _: kit.watchdog.on_request_sent(None)) <= READ + 2 * TICK


async def test_request_in_time_is_not_cancelled(kit: WatchdogKit) -> None:
    with kit.scope():
        kit.watchdog.on_request_sent(Connection())
        await asyncio.sleep(READ - TICK)


async def test_read_timeout_restarts_with_each_chunk(kit: WatchdogKit) -> None:
    async def send_chunks_slowly(scope: TimeoutScope) -> None:
        kit.watchdog.on_request_sent(Connection())
        while True:
            await asyncio.sleep(READ - TICK)
            scope.reset_read_timeout()

    assert TOTAL <= await seconds_in_scope(kit.scope(), send_chunks_slowly) <= TOTAL + 2 * TICK


async def test_unsent_bytes_extend_the_read_timeout(kit: WatchdogKit) -> None:
    line = Connection(waiting=70_000)
    running_loop().call_later(READ * 1.5, setattr, line, "waiting", 0)
    elapsed = await kit.seconds_until_timeout(lambda _: kit.watchdog.on_request_sent(line))
    assert READ * 2.5 <= elapsed <= READ * 2.5 + 3 * TICK


async def test_total_timeout_bounds_unsent_bytes(kit: WatchdogKit) -> None:
    elapsed = await kit.seconds_until_timeout(lambda _: kit.watchdog.on_request_sent(Connection(waiting=70_000)))
    assert TOTAL <= elapsed <= TOTAL + 2 * TICK


async def test_stalled_loop_reads_the_response(kit: WatchdogKit) -> None:
    with kit.scope():
        kit.watchdog.on_request_sent(Connection())
        await asyncio.sleep(TICK)
        running_loop().advance(100 * READ)
        await asyncio.sleep(TICK)


async def test_total_timeout_without_read_timeout(kit: WatchdogKit) -> None:
    async def wait(_: TimeoutScope) -> None:
        kit.watchdog.on_request_sent(Connection())
        await asyncio.sleep(1000)

    lives = await seconds_in_scope(TimeoutScope(kit.watchdog, AttemptTimeouts(TOTAL)), wait)
    assert TOTAL <= lives <= TOTAL + 2 * TICK


async def test_ticks_are_at_most_a_second_apart(kit: WatchdogKit) -> None:
    patient = Watchdog()
    patient.allow(Timeouts(read=600.0, total=600.0, chat=600.0))
    scope = TimeoutScope(patient, AttemptTimeouts(600.0))
    assert 600.0 <= await seconds_in_scope(scope, lambda _: asyncio.sleep(10_000)) <= 602.0


async def test_other_errors_pass_through(kit: WatchdogKit) -> None:
    with pytest.raises(KeyError), kit.scope():
        raise KeyError


async def test_cancelled_request_stays_cancelled(kit: WatchdogKit) -> None:
    task = asyncio.create_task(kit.seconds_until_timeout())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not kit.watchdog.in_flight


async def test_external_cancellation_wins_over_the_timeout(kit: WatchdogKit) -> None:
    attempts: list[TimeoutScope] = []
    task = asyncio.create_task(kit.seconds_until_timeout(attempts.append))
    await asyncio.sleep(0)
    for _ in range(int(TOTAL / TICK) + 2):
        attempts[0].tick(TICK)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_timed_out_task_is_not_cancelled(kit: WatchdogKit) -> None:
    await kit.seconds_until_timeout()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(1)


async def test_block_that_ends_despite_the_timeout_succeeds(kit: WatchdogKit) -> None:
    with kit.scope():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            answer = "came after all"
    assert answer
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_ten_thousand_requests_share_one_timer(kit: WatchdogKit) -> None:
    before = running_loop().timers

    async def scope() -> None:
        with kit.scope():
            await released.wait()

    released = asyncio.Event()
    tasks = [asyncio.create_task(scope()) for _ in range(10_000)]
    await asyncio.sleep(0)
    assert running_loop().timers == before + 1
    released.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(TICK)
    assert running_loop().timers == before


async def test_request_outside_of_a_task_is_sent_without_timeout(kit: WatchdogKit) -> None:
    kit.watchdog.on_request_sent(Connection())
    assert not kit.watchdog.in_flight


async def test_requests_of_one_task_may_nest(kit: WatchdogKit) -> None:
    with kit.scope() as outer:
        with pytest.raises(TimeoutError), TimeoutScope(kit.watchdog, AttemptTimeouts(TICK)):
            await asyncio.sleep(1000)
        kit.watchdog.on_request_sent(Connection())
        assert outer.transport is not None
    assert not kit.watchdog.in_flight


async def test_timeout_of_the_outer_request_ends_the_inner_one(kit: WatchdogKit) -> None:
    started = now()
    with pytest.raises(TimeoutError), kit.scope(), TimeoutScope(kit.watchdog, AttemptTimeouts(10 * TOTAL)):
        await asyncio.sleep(1000)
    assert TOTAL <= now() - started <= TOTAL + 2 * TICK


async def test_closing_ends_nested_requests(kit: WatchdogKit) -> None:
    running_loop().call_later(TICK, kit.watchdog.cancel_all)
    with pytest.raises(ConnectionAbortedError), kit.scope(), kit.scope():
        await asyncio.sleep(1000)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_shorter_timeouts_shorten_the_ticks(kit: WatchdogKit) -> None:
    async def wait(_: TimeoutScope) -> None:
        kit.watchdog.allow(Timeouts(read=1.0))
        await asyncio.sleep(1000)

    assert 1.0 <= await seconds_in_scope(TimeoutScope(kit.watchdog, AttemptTimeouts(1.0)), wait) <= 1.2
