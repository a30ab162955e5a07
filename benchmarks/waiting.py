"""CPU and memory of waiting for many jobs: this SDK, a hand-written loop and bare aiohttp as the baseline.

    python -m benchmarks.waiting [--quick] [--n 100 1000 10000] [--polls 3] [--rounds 3] [--uvloop] [--tls]

Each client runs in a new process against one server, alternately, so that other load affects all of them. The report
has the median of the rounds and the ratio to the baseline of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from statistics import linear_regression, median
from typing import Any, Final

import attrs

from .clients import BASELINE, CLIENTS, FAST_CLIENT, RIVYA_CLIENTS, Load
from .processes import loop_name, read_line, resident_kib, start_module
from .report import describe_machine, format_table, show_progress, target

MAX_CPU_RATIO: Final = 1.3
"""Target: maximum ratio of CPU per request to bare aiohttp."""

MAX_PACED_RATIO: Final = 1.45
"""Target: the same for paced polls."""

MAX_FAST_RATIO: Final = 0.8
"""Target: the same for the fast transport."""

MIN_JOBS_FOR_RATIO: Final = 1000
"""Minimum number of jobs for the targets of the default transport; below, the set-up of a session weighs more."""

MAX_EXPONENT: Final = 1.05
"""Target: maximum exponent of the growth of CPU with the number of jobs."""

MIN_JOBS_FOR_MEMORY: Final = 1000
"""Minimum number of jobs for memory figures; below, allocator noise dominates."""

COUNTS_INTERVAL: Final = 0.05

WAIT_START_TIME: Final = 50e-6
"""Seconds per job from the last submit until the client waits."""


@attrs.frozen
class Measurement:
    """One run of one client; `requests`, `polls` and `ended` are counted by the server."""

    client: str
    load: Load
    cpu: float
    wall: float
    succeeded: int
    requests: int
    polls: int
    ended: int
    waiting_kib: int | None
    peak_kib: int | None

    @property
    def is_complete(self) -> bool:
        """True if client and server counted all ends, with the same number of polls for all jobs."""
        jobs = self.load.jobs
        return self.succeeded == self.ended == jobs and self.polls == jobs * self.load.polls

    @property
    def us_per_request(self) -> float:
        """Client CPU per HTTP request in microseconds."""
        return self.cpu / self.requests * 1e6


@attrs.frozen
class Rounds:
    """All rounds of one client at one number of jobs, with the rounds of the baseline."""

    measurements: list[Measurement]
    baseline: list[Measurement]

    def median(self, figure: Callable[[Measurement], float]) -> float:
        """Returns the median of a figure."""
        return median(map(figure, self.measurements))

    def kib_per_job(self, figure: Callable[[Measurement], int | None]) -> float | None:
        """Returns the median of a memory figure per job."""
        known = [kib for kib in map(figure, self.measurements) if kib is not None]
        return median(known) / self.measurements[0].load.jobs if known else None

    @property
    def ratio(self) -> float:
        """Median ratio of CPU per request to the baseline of the same round."""
        return median(self._ratios)

    @property
    def spread(self) -> str:
        """Smallest and largest ratio of a round."""
        return f"{min(self._ratios):.2f}-{max(self._ratios):.2f}"

    @property
    def _ratios(self) -> list[float]:
        return [
            measured.us_per_request / reference.us_per_request
            for measured, reference in zip(self.measurements, self.baseline, strict=True)
        ]


Results = dict[int, dict[str, Rounds]]
"""Rounds by number of jobs and client."""


class Server:
    """A client of the server process."""

    def __init__(self, control_url: str, url: str) -> None:
        self.url = url
        self._host, self._port = control_url.removeprefix("http://").split(":")

    async def reset(self, polls: int, jobs: int = 0) -> None:
        """Resets the server and creates a number of jobs."""
        await self._get(f"/reset?jobs={jobs}&polls={polls}")

    async def set_durations(self, median: float, sigma: float) -> None:
        """Resets the server. Jobs end after lognormal durations in seconds."""
        await self._get(f"/reset?jobs=0&polls=0&median={median}&sigma={sigma}")

    async def counts(self) -> dict[str, Any]:
        """Returns the counts of the server."""
        counts: dict[str, Any] = await self._get("/tally")
        return counts

    async def _get(self, target: str) -> Any:
        reader, writer = await asyncio.open_connection(self._host, int(self._port))
        writer.write(f"GET {target} HTTP/1.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        writer.close()
        return json.loads(body)


@asynccontextmanager
async def run_server(*, tls: bool = False) -> AsyncIterator[Server]:
    """Runs the server in another process."""
    process = await start_module("benchmarks.server", *["tls"] * tls)
    try:
        yield Server(*(await read_line(process)).split())
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def run_once(server: Server, client: str, load: Load, loop: str) -> Measurement:
    """Runs one client in a new process."""
    process = await start_module("benchmarks.clients", client, server.url, json.dumps(attrs.asdict(load)), loop)
    try:
        await read_line(process)
        await server.reset(load.polls)
        if process.stdin is not None:
            process.stdin.write(b"go\n")
        waiting_kib = None if client == BASELINE else await _measure_waiting_memory(server, process.pid, load)
        result = json.loads(await read_line(process))
    finally:
        if process.returncode is None and process.stdin is not None:
            process.stdin.close()
        await process.wait()
    counts = await server.counts()
    before, peak = result["before_kib"], result["peak_kib"]
    return Measurement(
        client,
        load,
        result["cpu"],
        result["wall"],
        result["succeeded"],
        requests=counts["submits"] + counts["polls"],
        polls=counts["polls"],
        ended=counts["ended"],
        waiting_kib=None if waiting_kib is None or before is None else waiting_kib - before,
        peak_kib=None if peak is None or before is None else peak - before,
    )


async def _measure_waiting_memory(server: Server, pid: int, load: Load) -> int | None:
    """Returns the memory of a process with all jobs submitted and none polled, or None without such a moment."""
    counts = await server.counts()
    while counts["submits"] < load.jobs and not counts["polls"]:
        await asyncio.sleep(COUNTS_INTERVAL)
        counts = await server.counts()
    await asyncio.sleep(COUNTS_INTERVAL + load.jobs * WAIT_START_TIME)  # until the last wait has started
    kib = resident_kib(pid)
    return None if (await server.counts())["polls"] else kib


async def measure(
    sizes: Iterable[int],
    *,
    polls: int,
    rounds: int,
    loop: str,
    create_load: Callable[[int, int], Load] = Load.of,
    tls: bool = False,
) -> Results:
    """Measures all clients at all sizes, alternately. Small loads get one more round because they are noisier."""
    results: Results = {}
    async with run_server(tls=tls) as server:
        for jobs in sizes:
            load = create_load(jobs, polls)
            measurements: dict[str, list[Measurement]] = {name: [] for name in CLIENTS}
            turns = rounds + 1 if jobs < MIN_JOBS_FOR_MEMORY else rounds
            for turn in range(turns):
                for name, found_so_far in measurements.items():
                    show_progress(f"{jobs} jobs, round {turn + 1} of {turns}: {name}")
                    found_so_far.append(await run_once(server, name, load, loop))
            results[jobs] = {name: Rounds(each, measurements[BASELINE]) for name, each in measurements.items()}
    show_progress("")
    return results


def growth_exponent(results: Results, client: str) -> float | None:
    """Returns the log-log slope of CPU over the number of jobs, or None with a single size."""
    if len(results) < 2:
        return None
    totals = [results[jobs][client].median(lambda measure: measure.cpu) for jobs in results]
    return linear_regression([math.log(jobs) for jobs in results], [math.log(total) for total in totals]).slope


def report(results: Results, paced: Results, *, loop: str) -> str:
    """Formats the tables and the targets."""
    polls = next(iter(results.values()))[BASELINE].measurements[0].load.polls
    parts = [
        f"Waiting: {polls} polls per job, at most 100 requests in flight, {loop}; CPU is the client's. Back to back: "
        "no client sleeps. Paced: half a second between the polls of a job, and the SDK's learned schedule; the "
        "baseline never sleeps"
    ]
    parts.append(
        "KiB/waiting job: resident when all jobs are submitted and none was polled; it grows with the first poll"
    )
    head = [
        "",
        "us/request",
        "ratio",
        "spread",
        "paced us/request",
        "ratio",
        "spread",
        "KiB/waiting job",
        "peak KiB/job",
    ]
    head += ["wall s", "jobs done", "polls/job"]
    for jobs, clients in results.items():
        rows = [[name, *_figures(rounds, paced[jobs][name])] for name, rounds in clients.items()]
        parts.append(f"{jobs:,} jobs, median of {len(clients[BASELINE].measurements)}\n{format_table(head, rows)}")
    if len(results) > 1:
        slopes = [[name, f"{growth_exponent(results, name):.3f}"] for name in CLIENTS]
        parts.append(f"Growth exponent of total CPU\n{format_table(['', 'exponent'], slopes)}")
    parts.append("\n".join(["Marks", *_marks(results, paced)]))
    return "\n\n".join(parts)


def _figures(rounds: Rounds, paced: Rounds) -> list[str]:
    jobs = rounds.measurements[0].load.jobs
    memory = [
        rounds.kib_per_job(lambda measure: measure.waiting_kib),
        rounds.kib_per_job(lambda measure: measure.peak_kib),
    ]
    return [
        *(
            text
            for each in (rounds, paced)
            for text in (f"{each.median(_us_per_request):.0f}", f"{each.ratio:.2f}", each.spread)
        ),
        *("" if kib is None or jobs < MIN_JOBS_FOR_MEMORY else f"{kib:.1f}" for kib in memory),
        f"{rounds.median(lambda measure: measure.wall):.1f}",
        f"{min(measure.succeeded for measure in rounds.measurements):,}",
        f"{rounds.median(lambda measure: measure.polls) / jobs:.2f}",
    ]


def _us_per_request(measurement: Measurement) -> float:
    return measurement.us_per_request


def _marks(results: Results, paced: Results) -> Iterable[str]:
    for name in RIVYA_CLIENTS:
        yield _ratio_mark(results, f"{name}, back to back", name, MAX_CPU_RATIO)
        yield _ratio_mark(paced, f"{name}, paced", name, MAX_PACED_RATIO)
        slope = growth_exponent(results, name)
        if slope is not None:
            yield target(f"{name}: exponent at most {MAX_EXPONENT}", f"{slope:.3f}", met=slope <= MAX_EXPONENT)
    if FAST_CLIENT in CLIENTS:
        yield _ratio_mark(results, f"{FAST_CLIENT}, back to back", FAST_CLIENT, MAX_FAST_RATIO, smallest=0)
    runs = [
        run
        for each in (results, paced)
        for clients in each.values()
        for rounds in clients.values()
        for run in rounds.measurements
    ]
    complete = sum(run.is_complete for run in runs)
    yield target(
        "every job done and the same number of polls for all, as the server counts",
        f"{complete} of {len(runs)} runs",
        met=complete == len(runs),
    )


def _ratio_mark(results: Results, name: str, client: str, limit: float, smallest: int = MIN_JOBS_FOR_RATIO) -> str:
    ratios = {jobs: clients[client].ratio for jobs, clients in results.items()}
    return target(
        f"{name}: CPU per request at most {limit:g}x bare aiohttp at {smallest:,} jobs and more",
        ", ".join(f"{ratio:.2f}x at {jobs:,}" for jobs, ratio in ratios.items()),
        met=all(ratio <= limit for jobs, ratio in ratios.items() if jobs >= smallest),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--quick", action="store_true", help="half a minute: fewer jobs, fewer rounds")
    parser.add_argument("--n", type=int, nargs="+", metavar="JOBS", help="numbers of jobs")
    parser.add_argument("--polls", type=int, default=3, help="polls per job (default: 3)")
    parser.add_argument("--rounds", type=int, help="repetitions of which the median is printed")
    parser.add_argument("--uvloop", action="store_true", help="all clients on uvloop")


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures and formats."""
    sizes = sorted(options.n or ([100, 1000] if options.quick else [100, 1000, 10_000]))
    rounds = options.rounds or (1 if options.quick else 3)
    loop = loop_name(options)

    def run(create_load: Callable[[int, int], Load]) -> Results:
        return asyncio.run(
            measure(sizes, polls=options.polls, rounds=rounds, loop=loop, create_load=create_load, tls=options.tls)
        )

    return report(run(Load.of), run(Load.paced), loop=f"{loop}{', TLS' if options.tls else ''}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__.partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--tls", action="store_true", help="all clients over TLS")
    options = parser.parse_args()
    print(describe_machine(), run_benchmark(options), sep="\n\n")


if __name__ == "__main__":
    main()
