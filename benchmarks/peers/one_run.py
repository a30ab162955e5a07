"""One contender in a process of its own: warms up, says so, waits for a line, runs its jobs, prints what it took."""

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

from ..memory import peak_kib, resident_kib
from .contender import CONTENDERS, Contender, Generate

WARM_UP_JOBS: Final = 100
WARM_UP_INTERVAL: Final = 0.1


@attrs.frozen
class Work:
    """So many jobs, polled every `interval` seconds where that can be set, given up after `limit` seconds."""

    jobs: int
    interval: float
    limit: float


async def run(generate: Generate, work: Work, at_once: int | None) -> tuple[int, Counter[str]]:
    """How many jobs succeeded, and what was raised for the others; the rest had not ended when the time was up."""
    succeeded = 0
    raised: Counter[str] = Counter()

    async def serve(orders: Iterator[int]) -> None:
        nonlocal succeeded
        for order in orders:
            try:
                await generate(order, work.interval)
            except Exception as error:  # noqa: BLE001  whatever an SDK raises is what is counted
                raised[type(error).__name__] += 1
            else:
                succeeded += 1

    orders = iter(range(work.jobs))
    tasks = [asyncio.ensure_future(serve(orders)) for _ in range(min(at_once or work.jobs, work.jobs))]
    _, open_still = await asyncio.wait(tasks, timeout=work.limit)
    for task in open_still:
        task.cancel()
    return succeeded, raised


async def measure(contender: Contender, work: Work) -> None:
    """Print the CPU and wall seconds from the first submit to the last end, and the memory before and at its peak."""
    async with contender.opened() as generate:
        await run(generate, Work(WARM_UP_JOBS, WARM_UP_INTERVAL, work.limit), contender.at_once)
        gc.collect()
        before_kib = resident_kib()
        print("ready", flush=True)
        sys.stdin.readline()
        cpu, wall = time.process_time(), time.perf_counter()
        succeeded, raised = await run(generate, work, contender.at_once)
        told = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "succeeded": succeeded,
            "raised": raised,
            "before_kib": before_kib,
            "peak_kib": peak_kib(),
        }
        print(json.dumps(told), flush=True)  # now: a client with open jobs may be long in closing


def main() -> None:
    """Arguments: contender, work as JSON."""
    logging.disable()  # some SDKs warn of every retry; writing that is not what is measured
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    name, work = sys.argv[1:]
    asyncio.run(measure(CONTENDERS[name], Work(**json.loads(work))))


if __name__ == "__main__":
    main()
