"""A hundred thousand open waits in one process: their memory and their CPU.

    python -m benchmarks open-waits [--quick] [--uvloop]

Each wait is a separate task in `wait_for()`. The jobs do not end and all are due at once. A rate limit sets the
number of polls per second.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from typing import Any, Final

from rivya_async import PollPolicy, RateLimit, RivyaSession

from .processes import loop_factory, loop_name, read_line, resident_kib, start_module
from .report import format_table, show_progress, target
from .waiting import run_server

WAITS: Final = 100_000
RATES: Final = (50, 500, 2000)
WARM_UP_SECONDS: Final = 5.0
SECONDS: Final = 10.0
MAX_KIB_PER_WAIT: Final = 4.0
API_KEY: Final = "rvya_sk_benchmark"
POLL_POLICY: Final = PollPolicy(timeout=None)


async def hold_waits(url: str, waits: int, rate: float) -> dict[str, Any]:
    """Starts all waits, then measures their memory and CPU per second."""
    async with RivyaSession(API_KEY, base_url=url, rate_limit=RateLimit(rate)) as session:
        gc.collect()
        before = resident_kib()
        tasks = [asyncio.create_task(session.wait_for(f"task_{n:08d}", poll=POLL_POLICY)) for n in range(1, waits + 1)]
        await asyncio.sleep(WARM_UP_SECONDS)
        started_at, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(SECONDS)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - started_at
        open_waits = sum(not task.done() for task in tasks)
        after = resident_kib()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    kib = None if before is None or after is None else (after - before) / waits
    return {"open_waits": open_waits, "cpu": cpu / wall, "kib": kib}


async def measure(waits: int, loop: str) -> list[dict[str, Any]]:
    """Measures each rate in a new process."""
    results = []
    async with run_server() as server:
        for rate in RATES:
            show_progress(f"{waits:,} waits, {rate} polls per second")
            await server.reset(polls=sys.maxsize, jobs=waits)
            process = await start_module("benchmarks.open_waits", server.url, str(waits), str(rate), loop)
            result = json.loads(await read_line(process))
            await process.wait()
            results.append({"rate": rate, **result})
    show_progress("")
    return results


def report(results: list[dict[str, Any]], waits: int, loop: str) -> str:
    """Formats the table and the targets."""
    head = ["polls per second", "open waits", "CPU of one core", "KiB/wait"]
    rows = [
        [str(each["rate"]), f"{each['open_waits']:,}", f"{each['cpu']:.1%}", f"{each['kib'] or 0:.2f}"]
        for each in results
    ]
    fewest = min(each["held"] for each in results)
    worst = max(each["kib"] or 0.0 for each in results)
    return "\n".join(
        [
            f"Open waits: {waits:,} waits in one process, each a task in wait_for(), {loop}",
            format_table(head, rows),
            "Marks",
            target("every wait stays open", f"{fewest:,}", met=fewest == waits),
            target(f"at most {MAX_KIB_PER_WAIT:g} KiB per wait", f"{worst:.2f}", met=worst <= MAX_KIB_PER_WAIT),
        ]
    )


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures for a minute, or less with fewer waits, and formats."""
    waits, loop = (10_000 if options.quick else WAITS), loop_name(options)
    return report(asyncio.run(measure(waits, loop)), waits, loop)


def main() -> None:
    """Measures one rate. Arguments: URL, number of waits, polls per second, `uvloop` or `asyncio`."""
    url, waits, rate, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        print(json.dumps(runner.run(hold_waits(url, int(waits), float(rate)))), flush=True)


if __name__ == "__main__":
    main()
