"""Two thousand jobs within a rate limit of 100 requests per second that the session has to discover.

    python -m benchmarks rate-limit

The session learns the limit from the first 429 responses. The jobs take about 20 seconds each, so that far more polls
become due than the limit allows. The figures come from the requests that the sandbox received.
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

from .report import format_table, show_progress, target

REQUESTS_PER_SECOND: Final = 100
"""Rate limit of the sandbox, in windows of one second."""

JOBS: Final = 2_000

SPEED: Final = 0.6
"""Speed factor with which an image takes about twenty seconds."""

TOO_MANY_REQUESTS: Final = 429

MAX_REJECTED_SHARE: Final = 0.02
MIN_THROUGHPUT: Final = 0.9


@attrs.frozen
class Run:
    """The result of one session."""

    name: str
    ended: int
    rejected: int
    requests: int
    seconds: float
    loaded_seconds: float
    loaded_requests: int
    latencies: list[float]
    longest_gap: float

    @property
    def rejected_share(self) -> float:
        """Share of 429 responses."""
        return self.rejected / self.requests

    @property
    def throughput(self) -> float:
        """Requests per second as a share of the limit, until 95 % of the jobs have ended."""
        return self.loaded_requests / self.loaded_seconds / REQUESTS_PER_SECOND


async def run_once(name: str, jobs: int, rate_limit: RateLimit | None) -> Run:
    """Generates all jobs at once against a new sandbox."""
    sandbox = Sandbox(speed=SPEED, rate_limit=REQUESTS_PER_SECOND, rate_window=1.0)
    async with sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url, rate_limit=rate_limit) as session:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        ends: list[tuple[float, Generation]] = []

        async def generate(number: int) -> None:
            ended = await session.generate("z-image", f"Poster {number}")
            ends.append((loop.time(), ended))
            show_progress(f"{name}: {len(ends)} of {jobs} jobs have ended")

        await asyncio.gather(*(generate(number) for number in range(jobs)))
        show_progress("")
        return _summarize(name, sandbox, started_at, ends)


def _summarize(name: str, sandbox: Sandbox, started_at: float, ends: list[tuple[float, Generation]]) -> Run:
    received = list(sandbox.request_log)
    submitted = {request.task_id: request.at for request in received if request.method == "POST"}
    polls: dict[str | None, list[float]] = defaultdict(list)
    for request in received:
        if request.method == "GET":
            polls[request.task_id].append(request.at)
    loaded_until = ends[round(len(ends) * 0.95) - 1][0]
    return Run(
        name,
        ended=sum(record.succeeded for _, record in ends),
        rejected=sum(request.status == TOO_MANY_REQUESTS for request in received),
        requests=len(received),
        seconds=ends[-1][0] - started_at,
        loaded_seconds=loaded_until - started_at,
        loaded_requests=sum(request.at <= loaded_until for request in received),
        latencies=sorted(
            at - submitted[record.id] - record.duration.total_seconds() for at, record in ends if record.duration
        ),
        longest_gap=max(
            later - earlier for task_id, at in polls.items() for earlier, later in pairwise([submitted[task_id], *at])
        ),
    )


def report(runs: list[Run], jobs: int) -> str:
    """Formats the table and the targets."""
    head = ["", "jobs ended", "requests", "429", "share", "throughput", "latency mean s", "p95 s", "longest gap s"]
    rows = [
        [
            run.name,
            f"{run.ended:,}",
            f"{run.requests:,}",
            f"{run.rejected}",
            f"{run.rejected_share:.2%}",
            f"{run.throughput:.0%}",
            f"{sum(run.latencies) / len(run.latencies):.1f}",
            f"{run.latencies[round(len(run.latencies) * 0.95) - 1]:.1f}",
            f"{run.longest_gap:.1f}",
        ]
        for run in runs
    ]
    bound = jobs / (REQUESTS_PER_SECOND / 5)
    learned = runs[0]
    return "\n".join(
        [
            f"Rate limit: {jobs:,} jobs of about 20 s at once, {REQUESTS_PER_SECOND} requests/s; until 95 % ended",
            format_table(head, rows),
            "Marks",
            target("every job ends", f"{learned.ended:,} of {jobs:,}", met=learned.ended == jobs),
            target(
                f"at most {MAX_REJECTED_SHARE:.0%} of all requests are rejected",
                f"{learned.rejected_share:.2%}",
                met=learned.rejected_share <= MAX_REJECTED_SHARE,
            ),
            target(
                f"at least {MIN_THROUGHPUT:.0%} of the limit",
                f"{learned.throughput:.0%}",
                met=learned.throughput >= MIN_THROUGHPUT,
            ),
            target(
                f"between two polls of a job never more than jobs / (a fifth of the limit) = {bound:.0f} s",
                f"{learned.longest_gap:.1f} s",
                met=learned.longest_gap <= bound,
            ),
        ]
    )


async def _measure(jobs: int) -> list[Run]:
    return [
        await run_once("learned from 429s", jobs, None),
        await run_once(f"RateLimit({REQUESTS_PER_SECOND - 5})", jobs, RateLimit(REQUESTS_PER_SECOND - 5)),
    ]


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures two runs of 90 seconds each, or with fewer jobs, and formats."""
    jobs = 500 if options.quick else JOBS
    return report(asyncio.run(_measure(jobs)), jobs)
