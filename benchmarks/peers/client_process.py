"""Child process of one client: warms up, waits for an input line, runs the jobs and prints the figures."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import attrs

from ..processes import peak_kib, resident_kib
from .clients import CLIENTS, Client, Generate

WARM_UP_JOBS: Final = 100
WARM_UP_INTERVAL: Final = 0.1


@attrs.frozen
class Workload:
    """A number of jobs, the poll interval in seconds where configurable, and the time limit in seconds."""

    jobs: int
    interval: float
    limit: float


async def run_jobs(generate: Generate, workload: Workload, max_jobs: int | None) -> tuple[int, Counter[str]]:
    """Returns the number of succeeded jobs and the raised errors. The remaining jobs exceeded the limit."""
    succeeded = 0
    raised: Counter[str] = Counter()

    async def run_some(numbers: Iterator[int]) -> None:
        nonlocal succeeded
        for number in numbers:
            try:
                await generate(number, workload.interval)
            except Exception as error:  # noqa: BLE001 - counts all errors of an SDK
                raised[type(error).__name__] += 1
            else:
                succeeded += 1

    numbers = iter(range(workload.jobs))
    tasks = [asyncio.ensure_future(run_some(numbers)) for _ in range(min(max_jobs or workload.jobs, workload.jobs))]
    _, unfinished = await asyncio.wait(tasks, timeout=workload.limit)
    for task in unfinished:
        task.cancel()
    return succeeded, raised


async def measure(client: Client, workload: Workload) -> None:
    """Prints CPU and wall seconds, and the memory before and at its peak."""
    async with client.open() as generate:
        await run_jobs(generate, Workload(WARM_UP_JOBS, WARM_UP_INTERVAL, workload.limit), client.max_jobs)
        gc.collect()
        before_kib = resident_kib()
        print("ready", flush=True)
        sys.stdin.readline()
        cpu, wall = time.process_time(), time.perf_counter()
        succeeded, raised = await run_jobs(generate, workload, client.max_jobs)
        result = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "succeeded": succeeded,
            "raised": raised,
            "before_kib": before_kib,
            "peak_kib": peak_kib(),
        }
        print(json.dumps(result), flush=True)  # before the client closes, which can take long with open jobs


def main() -> None:
    """Measures one client. Arguments: client, workload as JSON."""
    logging.disable()  # excludes the retry warnings of some SDKs from the measurement
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    name, workload = sys.argv[1:]
    asyncio.run(measure(CLIENTS[name], Workload(**json.loads(workload))))


if __name__ == "__main__":
    main()
