"""The virtual-time loop: no real delay, with sockets and threads of the same loop, and with deadlock detection."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rivya_async import RivyaSession, WaitTimeoutError
from rivya_async.sandbox import Sandbox
from rivya_async.testing import DeadlockError, FakeTransport, VirtualTimeLoop, run, wall_time
from rivya_async.testing.virtual_time import START
from tests.engine import virtual_time


def test_timers_fire_in_order_without_real_delay() -> None:
    fired: list[float] = []

    async def after(seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append(seconds)

    async def main() -> None:
        await asyncio.gather(*(after(seconds) for seconds in (3600.0, 1.0, 60.0, 86_400.0)))

    started_at = time.perf_counter()
    run(main())
    assert fired == [1.0, 60.0, 3600.0, 86_400.0]
    assert time.perf_counter() - started_at < 10


def test_sandbox_on_same_loop_at_real_speed() -> None:
    async def main() -> tuple[float, float, int]:
        started_at, at = asyncio.get_running_loop().time(), wall_time()
        async with (
            Sandbox(speed=1, clock=wall_time) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        ):
            jobs = await asyncio.gather(*(session.generate("kling-3-0", "A kite") for _ in range(5)))
            assert all(job.succeeded for job in jobs)
            return asyncio.get_running_loop().time() - started_at, wall_time() - at, sandbox.request_log.count()

    seconds, by_the_wall, requests = run(main())
    assert 60 < seconds < 600
    assert by_the_wall == pytest.approx(seconds)
    assert requests < 300


def test_client_deadline_expires() -> None:
    async def main() -> None:
        async with (
            Sandbox(speed=0.01, clock=wall_time) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        ):
            with pytest.raises(WaitTimeoutError):
                await session.generate("z-image", "A kite", timeout=600)

    run(main())


def test_fake_transport_in_virtual_time() -> None:
    async def main() -> float:
        started_at = asyncio.get_running_loop().time()

        def service(_: object) -> dict[str, str]:
            stopped = asyncio.get_running_loop().time() - started_at > 600
            return {"id": "task_1", "model": "z-image", "status": "succeeded" if stopped else "processing"}

        async with FakeTransport(service).session() as session:
            await session.generate("z-image", "A kite")
        return asyncio.get_running_loop().time() - started_at

    assert 600 < run(main()) < 700


def test_no_loopback_delay_without_sockets() -> None:
    async def main() -> None:
        for _ in range(20_000):
            await asyncio.sleep(3600)

    started_at = time.perf_counter()
    run(main())
    assert time.perf_counter() - started_at < 20  # 40 with a loopback delay per clock advance


def test_decades_pass() -> None:
    """asyncio's resolution of a nanosecond is smaller than the float resolution of such a clock."""

    async def main() -> float:
        started_at = asyncio.get_running_loop().time()
        await asyncio.sleep(1e9)
        await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time() - started_at

    assert run(main()) == 1e9 + 0.25


def slow() -> int:
    time.sleep(0.1)
    return 5


def test_clock_stands_still_during_thread_work() -> None:
    async def main() -> tuple[int, float]:
        started_at = asyncio.get_running_loop().time()
        async with asyncio.timeout(1):  # virtual seconds
            result = await asyncio.to_thread(slow)
            await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        return result, asyncio.get_running_loop().time() - started_at

    assert run(main()) == (5, 0.0)


def test_clock_stands_still_during_work_in_custom_executor() -> None:
    async def main() -> tuple[int, float]:
        loop, started_at = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        with ThreadPoolExecutor(1) as pool:
            async with asyncio.timeout(1):
                result = await loop.run_in_executor(pool, slow)
        return result, loop.time() - started_at

    assert run(main()) == (5, 0.0)


def test_thread_is_busy_until_loop_receives_result(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = VirtualTimeLoop.call_soon_threadsafe

    def late(self: VirtualTimeLoop, *arguments: Any, **options: Any) -> asyncio.Handle:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.1)
        return heard(self, *arguments, **options)

    async def main() -> float:
        started_at = asyncio.get_running_loop().time()
        async with asyncio.timeout(1):
            await asyncio.to_thread(int)
        return asyncio.get_running_loop().time() - started_at

    monkeypatch.setattr(VirtualTimeLoop, "call_soon_threadsafe", late)
    assert run(main()) == 0.0


def test_slow_executor_shutdown_is_no_deadlock() -> None:
    class Slow(ThreadPoolExecutor):
        def shutdown(self, *arguments: Any, **options: Any) -> None:
            time.sleep(0.1)
            super().shutdown(*arguments, **options)

    async def main() -> int:
        asyncio.get_running_loop().set_default_executor(Slow())
        return await asyncio.to_thread(slow)

    assert run(main()) == 5


def test_large_transfer_takes_no_virtual_time() -> None:
    data = bytes(30_000_000)

    async def main() -> tuple[int, float]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(len(data)))
            await writer.drain()
            writer.close()

        started_at = asyncio.get_running_loop().time()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(data)
            async with asyncio.timeout(1):
                came = await reader.read(-1)
            writer.close()
        return len(came), asyncio.get_running_loop().time() - started_at

    assert run(main()) == (len(data), 0.0)


def test_cancelled_thread_call_does_not_block() -> None:
    async def main() -> None:
        for _ in range(100):
            task = asyncio.create_task(asyncio.to_thread(int))
            await virtual_time.settle()
            task.cancel()
        await asyncio.sleep(3600)

    run(main())


def test_deadlock_error_names_source_lines() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(
        DeadlockError, match=r"all tasks wait without a timer or pending I/O: Task-\d+ at test_virtual_time.py:\d+$"
    ) as raised:
        run(main())
    line = int(str(raised.value).rpartition(":")[2])
    assert "create_future" in Path(__file__).read_text().splitlines()[line - 1]


def test_wall_time_of_latest_loop() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400)
        assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        return wall_time()

    assert run(main()) == wall_time()


def test_timeout_expires_at_virtual_time() -> None:
    async def main() -> float:
        started_at = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        return asyncio.get_running_loop().time() - started_at

    assert run(main()) == 5


def test_advance_moves_clock_of_blocked_loop() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.advance(7)
        return loop.time()

    assert run(main()) == START + 7


def test_busy_loop_raises_deadlock_error() -> None:
    async def main() -> None:
        while True:
            await virtual_time.settle()

    with pytest.raises(DeadlockError, match="50000 iterations of the event loop without I/O or a timer: "):
        run(main())


def test_run_helper_rejects_leftover_task() -> None:
    tasks = set()

    async def main() -> None:
        tasks.add(asyncio.create_task(asyncio.sleep(1)))

    with pytest.raises(AssertionError):
        virtual_time.run(main())
