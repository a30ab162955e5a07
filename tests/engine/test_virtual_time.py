"""The loop that the other tests stand on."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.virtual_time import START, Deadlock, Livelock, VirtualTimeLoop, now, run, running_loop, settle


async def test_an_hour_passes_at_once() -> None:
    await asyncio.sleep(3600)
    assert now() == pytest.approx(3600)


async def test_timers_fire_in_the_order_of_their_times() -> None:
    seen: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, now()))

    await asyncio.gather(nap("b", 2), nap("a", 1), nap("c", 1e6))
    assert seen == [("a", 1), ("b", 2), ("c", 1e6)]


async def test_timeouts_read_the_same_clock() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.sleep(10)
    assert now() == 5


async def test_a_stall_is_time_that_passes_while_nobody_runs() -> None:
    running_loop().stall(7)
    assert running_loop().time() == START + 7


def test_a_deadlock_is_told() -> None:
    async def wait_for_godot() -> None:
        await asyncio.get_running_loop().create_future()

    loop = VirtualTimeLoop()
    task = loop.create_task(wait_for_godot())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_livelock_is_told() -> None:
    async def spin() -> None:
        while True:
            await settle()

    loop = VirtualTimeLoop()
    task = loop.create_task(spin())
    with pytest.raises(Livelock):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_task_that_is_left_is_told() -> None:
    tasks = set()

    async def leave_one() -> None:
        tasks.add(asyncio.create_task(asyncio.sleep(1)))

    with pytest.raises(AssertionError):
        run(leave_one())
