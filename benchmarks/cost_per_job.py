"""CPU and requests per job at equal latency: the default policy, and loops with the intervals that others use.

    python -m benchmarks cost-per-job [--quick]

Jobs with lognormal durations arrive over a time. All clients run at once, each in a process and against a server of its
own, and start without learned durations. The latency is the time from the end of a job to the poll that sees it. A loop
with shorter intervals has more requests and a lower latency: the loop at our latency is interpolated between loops at
the service's advice times 0.3 to 1.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterable
from typing import Final

import attrs

from rivya_async import RivyaSession

from .clients import API_KEY, MODEL, PROMPT, open_http, poll, submit
from .processes import read_line, start_module
from .report import format_table, show_progress, target
from .waiting import run_server

MEDIAN: Final = 30.0
SIGMA: Final = 0.3
SCALES: Final = (0.3, 0.5, 0.7, 1.0)
"""Factors of the advised intervals."""

FIRST: Final = (2.0, 3.0)
NEXT: Final = (5.0, 10.0)
"""Intervals that the service advises, in seconds."""

OURS: Final = ("ours", "ours, fast=True")
Limits = tuple[float, float]

INTERVALS: Final[dict[str, tuple[Limits, Limits]]] = {
    **{
        f"advice x {scale:g}": ((scale * FIRST[0], scale * FIRST[1]), (scale * NEXT[0], scale * NEXT[1]))
        for scale in SCALES
    },
    "every 2 s, as in openai's guide": ((2.0, 2.0), (2.0, 2.0)),
    "6 s +- 1.5 s, as in runwayml": ((4.5, 7.5), (4.5, 7.5)),
}
"""Intervals of the first poll and of the next ones, between two limits in seconds."""

MAX_REQUESTS: Final = 0.5
MAX_CPU: Final = 0.7
"""Targets: maximum share of the requests and of the CPU of the loop with the same latency."""


@attrs.frozen
class Cost:
    """Figures of one client per job: requests, CPU in milliseconds, latency in seconds."""

    requests: float
    cpu: float
    latency: float


async def run_client(name: str, url: str, jobs: int, seconds: float) -> float:
    """Runs one client. Returns its CPU seconds."""
    async with open_http(url) as http, RivyaSession(API_KEY, base_url=url, fast="fast" in name) as session:
        if name in OURS:
            await session.start()

        async def generate() -> None:
            if name in OURS:
                await session.generate(MODEL, PROMPT)
                return
            first, following = INTERVALS[name]
            job = await submit(http, url)
            delay = random.uniform(*first)
            while job["status"] != "succeeded":
                await asyncio.sleep(delay)
                job = await poll(http, url, job["id"])
                delay = random.uniform(*following)

        cpu, loop = time.process_time(), asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in range(jobs):
                await asyncio.sleep(start + number * seconds / jobs - loop.time())
                tasks.create_task(generate())
        return time.process_time() - cpu


async def measure_client(name: str, jobs: int, seconds: float) -> Cost:
    """Runs one client in a new process against a server of its own."""
    async with run_server() as server:
        await server.set_durations(MEDIAN, SIGMA)
        process = await start_module("benchmarks.cost_per_job", name, server.url, str(jobs), str(seconds))
        cpu = float(await read_line(process))
        await process.wait()
        counts = await server.counts()
    if counts["ended"] != jobs:
        raise RuntimeError(f"{name}: {counts['ended']} of {jobs} jobs ended")
    return Cost((counts["submits"] + counts["polls"]) / jobs, cpu / jobs * 1000, counts["latency"] / jobs)


async def measure(jobs: int, seconds: float) -> dict[str, Cost]:
    """Runs all clients at once."""
    names = [*OURS, *INTERVALS]
    show_progress(f"cost per job: {len(names)} clients, about {seconds + 3 * MEDIAN:.0f} s")
    costs = await asyncio.gather(*(measure_client(name, jobs, seconds) for name in names))
    show_progress("")
    return dict(zip(names, costs, strict=True))


def at_latency(costs: dict[str, Cost], latency: float) -> Cost:
    """Returns the cost of the advised loop at a latency, interpolated between the scaled ones."""
    loops = sorted((costs[f"advice x {scale:g}"] for scale in SCALES), key=lambda cost: cost.latency)
    upper = next((number for number, cost in enumerate(loops) if cost.latency >= latency and number), len(loops) - 1)
    low, high = loops[upper - 1], loops[upper]
    share = min(1.0, max(0.0, (latency - low.latency) / (high.latency - low.latency)))
    return Cost(low.requests + share * (high.requests - low.requests), low.cpu + share * (high.cpu - low.cpu), latency)


def report(costs: dict[str, Cost], jobs: int, seconds: float) -> str:
    """Formats the table and the targets."""
    equal = {name: at_latency(costs, costs[name].latency) for name in OURS}
    rows = [
        [name, f"{cost.requests:.2f}", f"{cost.cpu:.2f}", f"{cost.latency:.2f}", *_shares(cost, equal.get(name))]
        for name, cost in costs.items()
    ]
    head = ["", "requests/job", "CPU ms/job", "latency s", "requests, of the loop at this latency", "CPU"]
    title = (
        f"Cost per job: {jobs:,} jobs within {seconds:g} s, lognormal durations with a median of {MEDIAN:g} s and a "
        f"spread of {SIGMA}, default policy without learned durations"
    )
    ours, loop = costs[OURS[0]], equal[OURS[0]]
    requests, cpu = ours.requests / loop.requests, ours.cpu / loop.cpu
    marks = [
        target(f"requests at most {MAX_REQUESTS} of the loop's", f"{requests:.2f}", met=requests <= MAX_REQUESTS),
        target(f"CPU at most {MAX_CPU} of the loop's", f"{cpu:.2f}", met=cpu <= MAX_CPU),
    ]
    return f"{title}\n{format_table(head, rows)}\n\n" + "\n".join(["Marks", *marks])


def _shares(cost: Cost, loop: Cost | None) -> Iterable[str]:
    return ["", ""] if loop is None else [f"{cost.requests / loop.requests:.2f}", f"{cost.cpu / loop.cpu:.2f}"]


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures, with fewer jobs if `quick`, and formats."""
    jobs, seconds = (100, 20.0) if options.quick else (1000, 100.0)
    return report(asyncio.run(measure(jobs, seconds)), jobs, seconds)


def main() -> None:
    """Runs one client. Arguments: client, URL, number of jobs, seconds of their arrivals."""
    name, url, jobs, seconds = sys.argv[1:]
    print(asyncio.run(run_client(name, url, int(jobs), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
