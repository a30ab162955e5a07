"""A hundred thousand waits in one process: what they weigh, and what it costs to hold them.

    python -m benchmarks held [--quick] [--uvloop]

Each wait is a task of its own in `wait_for()`, as in an app; the jobs do not end, and all of them are due at once. A
rate limit says how many are polled per second; the others wait for their turn.
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

from .event_loop import factory
from .memory import resident_kib
from .report import mark, progress, table
from .waiting import loop_name, python, read_line, serving

WAITS: Final = 100_000
RATES: Final = (50, 500, 2000)
SETTLE: Final = 5.0
SECONDS: Final = 10.0
MOST_KIB: Final = 4.0
KEY: Final = "rvya_sk_benchmark"
PATIENT: Final = PollPolicy(timeout=None)


async def hold(url: str, waits: int, rate: float) -> dict[str, Any]:
    """The memory and the CPU per second of so many waits, after all have begun."""
    async with RivyaSession(KEY, base_url=url, rate_limit=RateLimit(rate)) as session:
        gc.collect()
        before = resident_kib()
        tasks = [asyncio.create_task(session.wait_for(f"task_{n:08d}", poll=PATIENT)) for n in range(1, waits + 1)]
        await asyncio.sleep(SETTLE)
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(SECONDS)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        held = sum(not task.done() for task in tasks)
        after = resident_kib()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    kib = None if before is None or after is None else (after - before) / waits
    return {"held": held, "cpu": cpu / wall, "kib": kib}


async def measure(waits: int, loop: str) -> list[dict[str, Any]]:
    """One fresh process for each rate, beside the server's."""
    found = []
    async with serving() as server:
        for rate in RATES:
            progress(f"{waits:,} waits, {rate} polls per second")
            await server.begin(polls=sys.maxsize, jobs=waits)
            process = await python("benchmarks.held", server.url, str(waits), str(rate), loop)
            told = json.loads(await read_line(process))
            await process.wait()
            found.append({"rate": rate, **told})
    progress("")
    return found


def report(found: list[dict[str, Any]], waits: int, loop: str) -> str:
    """The table and the marks."""
    head = ["polls per second", "waits held", "CPU of one core", "KiB/wait"]
    rows = [[str(each["rate"]), f"{each['held']:,}", f"{each['cpu']:.1%}", f"{each['kib'] or 0:.2f}"] for each in found]
    fewest = min(each["held"] for each in found)
    worst = max(each["kib"] or 0.0 for each in found)
    return "\n".join(
        [
            f"Held: {waits:,} waits in one process, each a task in wait_for(), {loop}",
            table(head, rows),
            "Marks",
            mark("every wait is held", f"{fewest:,}", met=fewest == waits),
            mark(f"at most {MOST_KIB:g} KiB per wait", f"{worst:.2f}", met=worst <= MOST_KIB),
        ]
    )


def measured_report(options: argparse.Namespace) -> str:
    """Measure as the options say: a minute, or less with fewer waits."""
    waits, loop = (10_000 if options.quick else WAITS), loop_name(options)
    return report(asyncio.run(measure(waits, loop)), waits, loop)


def main() -> None:
    """Arguments: URL, number of waits, polls per second, `uvloop` or `asyncio`."""
    url, waits, rate, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        print(json.dumps(runner.run(hold(url, int(waits), float(rate)))), flush=True)


if __name__ == "__main__":
    main()
