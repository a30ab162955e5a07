"""What a second worker process brings: the same orders by one and by two, with and without a limit of the account.

    python -m benchmarks workers [--quick]

Needs a redis-server (`apt-get install redis-server`). Redis, the sandbox and each worker are processes of their own and
share this machine's cores. All orders are in the queue before the workers start; the time is that from the first
request to the last end that was told, by the sandbox's clock. CPU is that of the worker processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs

from rivya_async import PollPolicy, RateLimit
from rivya_async.sandbox import Sandbox

from .report import mark, progress, table
from .waiting import python, read_line

ORDERS: Final = 3000
LIMITED: Final = 1500
"""Orders without a limit, and with one..."""

LIMIT: Final = 150
"""... of so many requests per second."""

SPEED: Final = 20.0
"""Times faster than life: a picture takes a second."""

POLL: Final = PollPolicy(first=0.5, base=0.5, cap=1.0, floor=0.1, adaptive=False)
"""Equal polls for all: about three per job."""

MOST_REFUSED: Final = 0.02


async def serve(limit: int) -> None:
    """The sandbox: says where it is, then what happened, once so many jobs were told to have ended."""
    async with Sandbox(speed=SPEED, credits=10**9, rate_limit=limit or None, rate_window=1.0) as sandbox:
        print(json.dumps({"url": sandbox.base_url, "key": sandbox.api_key}), flush=True)
        count = int(await asyncio.to_thread(sys.stdin.readline))
        while len(sandbox.received.settled) < count:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.05)
        times = [request.at for request in sandbox.received]
        told = {
            "seconds": max(times) - min(times),
            "requests": sandbox.received.count(),
            "refused": sandbox.received.answered(429),
            "purchases": sandbox.received.purchases,
        }
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def work(broker: str, processes: int, limit: int, url: str, key: str) -> None:
    """The workers, until SIGTERM."""
    from rivya_async.workers.supervisor import WorkerSupervisor

    rate = RateLimit(0.9 * limit) if limit else None
    options = {"api_key": key, "base_url": url, "poll": POLL}
    WorkerSupervisor(url=broker, processes=processes, rate_limit=rate, session_options=options).run()


@asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """A server of its own that writes an append-only file, as one for this purpose should."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--dir", folder, "--appendonly", "yes", "--save", ""]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        try:
            await asyncio.sleep(0.5)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            await process.wait()


@attrs.frozen
class Run:
    """What one run came to; `cpu` in seconds per order."""

    processes: int
    limit: int
    orders: int
    seconds: float
    requests: int
    refused: int
    purchases: int
    cpu: float


async def carry(processes: int, limit: int, orders: int) -> Run:
    """All orders by so many processes."""
    from rivya_async.workers import RivyaWorker

    async with redis() as broker:
        sandbox = await python(__name__, "serve", str(limit))
        told = json.loads(await read_line(sandbox))
        client = RivyaWorker.from_url(broker)
        await client.broker.startup()
        for first in range(0, orders, 500):
            numbers = range(first, min(first + 500, orders))
            await asyncio.gather(*(client.generate.kiq("z-image", f"Kite number {number}") for number in numbers))
        await client.broker.shutdown()
        workers = await python(__name__, "work", broker, str(processes), str(limit), told["url"], told["key"])
        await _say(sandbox, str(orders))
        found: dict[str, Any] = json.loads(await read_line(sandbox))
        cpu = _cpu_of_children(workers.pid) / orders
        workers.terminate()
        await workers.wait()
        await _say(sandbox, "end")
        await sandbox.wait()
    return Run(processes, limit, orders, cpu=cpu, **found)


async def _say(process: asyncio.subprocess.Process, line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(f"{line}\n".encode())
        await process.stdin.drain()


def _cpu_of_children(pid: int) -> float:
    """Seconds that the processes under this one have used. Linux tells."""
    ticks = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def measure(*, quick: bool) -> list[Run]:
    """One and two processes, side by side."""
    runs = []
    for limit, orders in ((0, ORDERS // (10 if quick else 1)), (LIMIT, LIMITED // (10 if quick else 1))):
        for processes in (1, 2):
            progress(f"{orders:,} orders, {processes} processes, limit {limit or 'none'}")
            runs.append(await carry(processes, limit, orders))
    progress("")
    return runs


def report(runs: list[Run]) -> str:
    """The table and the marks."""
    rows = [
        [
            f"{run.processes} {'process' if run.processes == 1 else 'processes'}, "
            + (f"at most {run.limit} requests/s" if run.limit else "no limit"),
            f"{run.orders / run.seconds:,.0f}",
            f"{run.requests / run.seconds:,.0f}",
            f"{run.cpu * 1e3:.1f}",
            f"{run.refused / run.requests:.2%}",
            f"{run.purchases:,} of {run.orders:,}",
        ]
        for run in runs
    ]
    refused = max(run.refused / run.requests for run in runs)
    once = all(run.purchases == run.orders for run in runs)
    return "\n".join(
        [
            "Workers: the same queue by one process and by two",
            table(["", "orders/s", "requests/s", "CPU ms/order", "429", "bought"], rows),
            "Marks",
            mark("every order is bought once", str(once), met=once),
            mark(f"at most {MOST_REFUSED:.0%} are answered 429", f"{refused:.2%}", met=refused <= MOST_REFUSED),
        ]
    )


def measured_report(options: argparse.Namespace) -> str:
    """Measure and report."""
    if shutil.which("redis-server") is None:
        return "Workers: not measured, there is no redis-server on this machine"
    began = time.perf_counter()
    text = report(asyncio.run(measure(quick=options.quick)))
    return f"{text}\n({time.perf_counter() - began:.0f} s)"


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6])
