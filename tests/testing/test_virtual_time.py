"""Virtual time: hours in a moment, sockets of the same loop and threads included, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rivya_async import DeadlineExceeded, RivyaSession
from rivya_async.sandbox import Sandbox
from rivya_async.testing import FakeTransport, Stuck, VirtualTimeLoop, run, wall


def test_timers_fire_in_their_order_and_hours_take_a_moment() -> None:
    told: list[float] = []

    async def after(seconds: float) -> None:
        await asyncio.sleep(seconds)
        told.append(seconds)

    async def main() -> None:
        await asyncio.gather(*(after(seconds) for seconds in (3600.0, 1.0, 60.0, 86_400.0)))

    began = time.perf_counter()
    run(main())
    assert told == [1.0, 60.0, 3600.0, 86_400.0]
    assert time.perf_counter() - began < 10


def test_a_sandbox_on_the_same_loop_at_the_speed_of_life() -> None:
    async def main() -> tuple[float, float, int]:
        began, at = asyncio.get_running_loop().time(), wall()
        async with (
            Sandbox(speed=1, clock=wall) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        ):
            jobs = await asyncio.gather(*(session.generate("kling-3-0", "A kite") for _ in range(5)))
            assert all(job.succeeded for job in jobs)
            return asyncio.get_running_loop().time() - began, wall() - at, sandbox.request_log.count()

    seconds, by_the_wall, requests = run(main())
    assert 60 < seconds < 600
    assert by_the_wall == pytest.approx(seconds)
    assert requests < 300


def test_a_deadline_of_the_client_comes_as_in_life() -> None:
    async def main() -> None:
        async with (
            Sandbox(speed=0.01, clock=wall) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        ):
            with pytest.raises(DeadlineExceeded):
                await session.generate("z-image", "A kite", timeout=600)

    run(main())


def test_a_service_that_is_a_function() -> None:
    async def main() -> float:
        began = asyncio.get_running_loop().time()

        def service(_: object) -> dict[str, str]:
            is_over = asyncio.get_running_loop().time() - began > 600
            return {"id": "task_1", "model": "z-image", "status": "succeeded" if is_over else "processing"}

        async with FakeTransport(service).session() as session:
            await session.generate("z-image", "A kite")
        return asyncio.get_running_loop().time() - began

    assert 600 < run(main()) < 700


def test_without_sockets_there_is_nothing_to_wait_for() -> None:
    async def main() -> None:
        for _ in range(20_000):
            await asyncio.sleep(3600)

    began = time.perf_counter()
    run(main())
    assert time.perf_counter() - began < 20  # it would be 40, if each leap gave a byte time to come


def test_decades_pass_too() -> None:
    """The loop's own resolution, a nanosecond, is less than the next number at which the clock could stand."""

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(1e9)
        await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time() - began

    assert run(main()) == 1e9 + 0.25


def slow() -> int:
    time.sleep(0.1)
    return 5


def test_the_clock_stands_still_while_a_thread_works() -> None:
    async def main() -> tuple[int, float]:
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(1):  # virtual: it would pass at once
            result = await asyncio.to_thread(slow)
            await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        return result, asyncio.get_running_loop().time() - began

    assert run(main()) == (5, 0.0)


def test_it_does_for_a_pool_of_ones_own_too() -> None:
    async def main() -> tuple[int, float]:
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        with ThreadPoolExecutor(1) as pool:
            async with asyncio.timeout(1):
                result = await loop.run_in_executor(pool, slow)
        return result, loop.time() - began

    assert run(main()) == (5, 0.0)


def test_a_thread_is_at_work_until_the_loop_has_heard_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = VirtualTimeLoop.call_soon_threadsafe

    def late(self: VirtualTimeLoop, *arguments: Any, **options: Any) -> asyncio.Handle:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.1)
        return heard(self, *arguments, **options)

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(1):
            await asyncio.to_thread(int)
        return asyncio.get_running_loop().time() - began

    monkeypatch.setattr(VirtualTimeLoop, "call_soon_threadsafe", late)
    assert run(main()) == 0.0


def test_threads_that_end_slowly_do_not_make_the_end_stuck() -> None:
    class Slow(ThreadPoolExecutor):
        def shutdown(self, *arguments: Any, **options: Any) -> None:
            time.sleep(0.1)
            super().shutdown(*arguments, **options)

    async def main() -> int:
        asyncio.get_running_loop().set_default_executor(Slow())
        return await asyncio.to_thread(slow)

    assert run(main()) == 5


def test_what_is_large_is_on_its_way_until_it_has_come() -> None:
    """Also where the system holds back what is sent: longer than a moment, but no second of virtual time."""
    data = bytes(30_000_000)

    async def main() -> tuple[int, float]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(len(data)))
            await writer.drain()
            writer.close()

        began = asyncio.get_running_loop().time()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(data)
            async with asyncio.timeout(1):
                came = await reader.read(-1)
            writer.close()
        return len(came), asyncio.get_running_loop().time() - began

    assert run(main()) == (len(data), 0.0)


def test_a_cancelled_thread_holds_up_nothing() -> None:
    async def main() -> None:
        for _ in range(100):
            task = asyncio.create_task(asyncio.to_thread(int))
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(3600)

    run(main())


def test_who_would_wait_for_ever_is_told() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(
        Stuck, match=r"all tasks wait for each other.*: Task-\d+ at test_virtual_time.py:\d+$"
    ) as raised:
        run(main())
    line = int(str(raised.value).rpartition(":")[2])
    assert "create_future" in Path(__file__).read_text().splitlines()[line - 1]


def test_the_wall_clock_is_that_of_the_loop_that_ran_last() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400)
        assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        return wall()

    assert run(main()) == wall()
