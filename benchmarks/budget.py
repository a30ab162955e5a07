"""One budget for two thousand jobs: the sandbox takes 100 requests a second, and nobody told the session.

    python -m benchmarks budget

The session finds the limit by its first refusals. The jobs take about 20 seconds each, so that far more polls fall due
than the limit allows. What is printed is what the sandbox received, and when each job was seen to end.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from itertools import pairwise
from typing import Final

import attrs

from rivya_async import Generation, RateLimit, RivyaSession
from rivya_async.sandbox import Sandbox

from .report import mark, progress, table

LIMIT: Final = 100
"""Requests per second, in windows of a second."""

JOBS: Final = 2_000

SPEED: Final = 0.6
"""An image takes about twenty seconds."""

REFUSED: Final = 429

MOST_REFUSED: Final = 0.02
LEAST_THROUGHPUT: Final = 0.9


@attrs.frozen
class Run:
    """What came of one session."""

    name: str
    ended: int
    refused: int
    requests: int
    seconds: float
    busy_seconds: float
    busy_requests: int
    latencies: list[float]
    longest_gap: float

    @property
    def refused_share(self) -> float:
        """429s among all requests."""
        return self.refused / self.requests

    @property
    def throughput(self) -> float:
        """Requests per second, as a share of the limit, until 95 % of the jobs were seen to end."""
        return self.busy_requests / self.busy_seconds / LIMIT


async def run_once(name: str, jobs: int, rate_limit: RateLimit | None) -> Run:
    """Generate all at once against a sandbox of its own."""
    sandbox = Sandbox(speed=SPEED, rate_limit=LIMIT, rate_window=1.0)
    async with sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url, rate_limit=rate_limit) as session:
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen: list[tuple[float, Generation]] = []

        async def generate(number: int) -> None:
            ended = await session.generate("z-image", f"Poster {number}")
            seen.append((loop.time(), ended))
            progress(f"{name}: {len(seen)} of {jobs} jobs have ended")

        await asyncio.gather(*(generate(number) for number in range(jobs)))
        progress("")
        return _counted(name, sandbox, began, seen)


def _counted(name: str, sandbox: Sandbox, began: float, seen: list[tuple[float, Generation]]) -> Run:
    received = list(sandbox.request_log)
    submitted = {request.task_id: request.at for request in received if request.method == "POST"}
    polls: dict[str | None, list[float]] = defaultdict(list)
    for request in received:
        if request.method == "GET":
            polls[request.task_id].append(request.at)
    busy_until = seen[round(len(seen) * 0.95) - 1][0]
    return Run(
        name,
        ended=sum(record.succeeded for _, record in seen),
        refused=sum(request.status == REFUSED for request in received),
        requests=len(received),
        seconds=seen[-1][0] - began,
        busy_seconds=busy_until - began,
        busy_requests=sum(request.at <= busy_until for request in received),
        latencies=sorted(
            at - submitted[record.id] - record.duration.total_seconds() for at, record in seen if record.duration
        ),
        longest_gap=max(
            later - earlier for task_id, at in polls.items() for earlier, later in pairwise([submitted[task_id], *at])
        ),
    )


def report(runs: list[Run], jobs: int) -> str:
    """The table and the marks."""
    head = ["", "jobs ended", "requests", "429", "share", "throughput", "latency mean s", "p95 s", "longest gap s"]
    rows = [
        [
            run.name,
            f"{run.ended:,}",
            f"{run.requests:,}",
            f"{run.refused}",
            f"{run.refused_share:.2%}",
            f"{run.throughput:.0%}",
            f"{sum(run.latencies) / len(run.latencies):.1f}",
            f"{run.latencies[round(len(run.latencies) * 0.95) - 1]:.1f}",
            f"{run.longest_gap:.1f}",
        ]
        for run in runs
    ]
    bound = jobs / (LIMIT / 5)
    learned = runs[0]
    return "\n".join(
        [
            f"Budget: {jobs:,} jobs of about 20 s at once, a limit of {LIMIT} requests/s; throughput until 95 % ended",
            table(head, rows),
            "Marks",
            mark("every job ends", f"{learned.ended:,} of {jobs:,}", met=learned.ended == jobs),
            mark(
                f"at most {MOST_REFUSED:.0%} of all requests are refused",
                f"{learned.refused_share:.2%}",
                met=learned.refused_share <= MOST_REFUSED,
            ),
            mark(
                f"at least {LEAST_THROUGHPUT:.0%} of the limit",
                f"{learned.throughput:.0%}",
                met=learned.throughput >= LEAST_THROUGHPUT,
            ),
            mark(
                f"between two looks at a job never more than jobs / (a fifth of the limit) = {bound:.0f} s",
                f"{learned.longest_gap:.1f} s",
                met=learned.longest_gap <= bound,
            ),
        ]
    )


async def _measure(jobs: int) -> list[Run]:
    return [
        await run_once("learned from 429s", jobs, None),
        await run_once(f"RateLimit({LIMIT - 5})", jobs, RateLimit(LIMIT - 5)),
    ]


def measured_report(options: argparse.Namespace) -> str:
    """Measure as the options say: two runs of a minute and a half each, or of fewer jobs."""
    jobs = 500 if options.quick else JOBS
    return report(asyncio.run(_measure(jobs)), jobs)
