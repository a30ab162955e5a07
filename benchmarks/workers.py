"""Throughput of one and of two worker processes, with and without a rate limit of the account.

    python -m benchmarks workers [--quick]

Needs a redis-server (`apt-get install redis-server`). Redis, the sandbox and each worker are separate processes
that share the cores of this machine. All jobs are queued before the workers start. The time runs from the first request
to the last reported end, by the clock of the sandbox. CPU is that of the worker processes.
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

from .processes import read_line, start_module
from .report import format_table, show_progress, target

JOBS: Final = 3000
LIMITED_JOBS: Final = 1500
"""Jobs without and with a rate limit."""

REQUESTS_PER_SECOND: Final = 150
"""Rate limit of the account."""

SPEED: Final = 20.0
"""Speed factor with which an image takes a second."""

POLL: Final = PollPolicy(first=0.5, base=0.5, cap=1.0, floor=0.1, adaptive=False)
"""Poll policy with about three polls per job."""

MAX_REJECTED_SHARE: Final = 0.02


async def serve(limit: int) -> None:
    """Serves a sandbox. Prints its address, then its counts after a number of reported ends."""
    async with Sandbox(speed=SPEED, credits=10**9, rate_limit=limit or None, rate_window=1.0) as sandbox:
        print(json.dumps({"url": sandbox.base_url, "key": sandbox.api_key}), flush=True)
        count = int(await asyncio.to_thread(sys.stdin.readline))
        while len(sandbox.request_log.observed_tasks) < count:  # noqa: ASYNC110 - the sandbox has no event for it
            await asyncio.sleep(0.05)
        times = [request.at for request in sandbox.request_log]
        result = {
            "seconds": max(times) - min(times),
            "requests": sandbox.request_log.count(),
            "refused": sandbox.request_log.count_status(429),
            "purchases": sandbox.request_log.purchases,
        }
        print(json.dumps(result), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def run_worker(broker: str, processes: int, limit: int, url: str, key: str) -> None:
    """Runs the workers until SIGTERM."""
    from rivya_async.workers.supervisor import WorkerSupervisor

    rate = RateLimit(0.9 * limit) if limit else None
    options = {"api_key": key, "base_url": url, "poll": POLL}
    WorkerSupervisor(url=broker, processes=processes, rate_limit=rate, session_options=options).run()


@asynccontextmanager
async def run_redis() -> AsyncIterator[str]:
    """Runs a Redis server with an append-only file."""
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
    """The result of one run; `cpu` in seconds per job."""

    processes: int
    limit: int
    jobs: int
    seconds: float
    requests: int
    rejected: int
    purchases: int
    cpu: float


async def run_jobs(processes: int, limit: int, jobs: int) -> Run:
    """Runs all jobs with a number of processes."""
    from rivya_async.workers import RivyaWorker

    async with run_redis() as broker:
        sandbox = await start_module(__name__, "serve", str(limit))
        result = json.loads(await read_line(sandbox))
        client = RivyaWorker.from_url(broker)
        await client.broker.startup()
        for first in range(0, jobs, 500):
            numbers = range(first, min(first + 500, jobs))
            await asyncio.gather(*(client.generate.kiq("z-image", f"Kite number {number}") for number in numbers))
        await client.broker.shutdown()
        workers = await start_module(__name__, "work", broker, str(processes), str(limit), result["url"], result["key"])
        await _print_json(sandbox, str(jobs))
        results: dict[str, Any] = json.loads(await read_line(sandbox))
        cpu = _cpu_of_children(workers.pid) / jobs
        workers.terminate()
        await workers.wait()
        await _print_json(sandbox, "end")
        await sandbox.wait()
    return Run(processes, limit, jobs, cpu=cpu, **results)


async def _print_json(process: asyncio.subprocess.Process, line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(f"{line}\n".encode())
        await process.stdin.drain()


def _cpu_of_children(pid: int) -> float:
    """Returns the CPU seconds of the child processes, on Linux."""
    ticks = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def measure(*, quick: bool) -> list[Run]:
    """Measures one and two processes."""
    runs = []
    for limit, jobs in ((0, JOBS // (10 if quick else 1)), (REQUESTS_PER_SECOND, LIMITED_JOBS // (10 if quick else 1))):
        for processes in (1, 2):
            show_progress(f"{jobs:,} jobs, {processes} processes, limit {limit or 'none'}")
            runs.append(await run_jobs(processes, limit, jobs))
    show_progress("")
    return runs


def report(runs: list[Run]) -> str:
    """Formats the table and the targets."""
    rows = [
        [
            f"{run.processes} {'process' if run.processes == 1 else 'processes'}, "
            + (f"at most {run.limit} requests/s" if run.limit else "no limit"),
            f"{run.jobs / run.seconds:,.0f}",
            f"{run.requests / run.seconds:,.0f}",
            f"{run.cpu * 1e3:.1f}",
            f"{run.rejected / run.requests:.2%}",
            f"{run.purchases:,} of {run.jobs:,}",
        ]
        for run in runs
    ]
    rejected = max(run.rejected / run.requests for run in runs)
    once = all(run.purchases == run.jobs for run in runs)
    return "\n".join(
        [
            "Workers: the same queue by one process and by two",
            format_table(["", "orders/s", "requests/s", "CPU ms/order", "429", "bought"], rows),
            "Marks",
            target("every order is bought once", str(once), met=once),
            target(
                f"at most {MAX_REJECTED_SHARE:.0%} are answered 429",
                f"{rejected:.2%}",
                met=rejected <= MAX_REJECTED_SHARE,
            ),
        ]
    )


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures and formats."""
    if shutil.which("redis-server") is None:
        return "Workers: not measured, there is no redis-server on this machine"
    started_at = time.perf_counter()
    text = report(asyncio.run(measure(quick=options.quick)))
    return f"{text}\n({time.perf_counter() - started_at:.0f} s)"


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        run_worker(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6])
