"""What it costs to wait for many jobs at once: this SDK, a loop written by hand, and bare aiohttp as the yardstick.

    python -m benchmarks.waiting [--quick] [--n 100 1000 10000] [--polls 3] [--rounds 3] [--uvloop]

Each contender runs in a fresh process against one server, in turns, so that a noisy neighbour hits all of them; what is
printed is the median of the rounds, and the ratio to the yardstick of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from statistics import linear_regression, median
from typing import Any, Final

import attrs

from .contenders import CONTENDERS, OURS, YARDSTICK
from .load import Load
from .memory import resident_kib
from .report import machine_line, mark, progress, table

RATIO_MARK: Final = 1.3
"""CPU per request, at most this many times bare aiohttp's."""

EXPONENT_MARK: Final = 1.05
"""Total CPU grows at most with this power of the number of jobs."""

FEWEST_FOR_MEMORY: Final = 1000
"""With fewer jobs the allocator's noise is larger than what they hold."""

TALLY_INTERVAL: Final = 0.05

JOIN_TIME: Final = 50e-6
"""Seconds that a client may need per job from the last submit until it waits."""


@attrs.frozen
class Measure:
    """One contender's run of one load; `requests`, `polls` and `ended` are the server's counts."""

    contender: str
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
        """Every job was seen to end by both sides, with the same number of polls for all."""
        jobs = self.load.jobs
        return self.succeeded == self.ended == jobs and self.polls == jobs * self.load.polls

    @property
    def us_per_request(self) -> float:
        """Client CPU per HTTP request."""
        return self.cpu / self.requests * 1e6


@attrs.frozen
class Rounds:
    """All rounds of one contender at one number of jobs, and the yardstick's beside them."""

    measures: list[Measure]
    yardstick: list[Measure]

    def median(self, figure: Callable[[Measure], float]) -> float:
        """The median of a figure."""
        return median(map(figure, self.measures))

    def kib_per_job(self, figure: Callable[[Measure], int | None]) -> float | None:
        """The median of a memory figure, shared out among the jobs."""
        known = [kib for kib in map(figure, self.measures) if kib is not None]
        return median(known) / self.measures[0].load.jobs if known else None

    @property
    def ratio(self) -> float:
        """CPU per request over the yardstick's in the same round."""
        return median(
            ours.us_per_request / bare.us_per_request for ours, bare in zip(self.measures, self.yardstick, strict=True)
        )


class Server:
    """The server process, seen from here."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._host, self._port = url.removeprefix("http://").split(":")

    async def begin(self, polls: int, jobs: int = 0) -> None:
        """Forget all counts; so many jobs are there from the beginning."""
        await self._get(f"/begin?jobs={jobs}&polls={polls}")

    async def tally(self) -> dict[str, int]:
        """What has arrived."""
        counts: dict[str, int] = await self._get("/tally")
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
async def serving() -> AsyncIterator[Server]:
    """The server in a process of its own."""
    process = await python("benchmarks.server")
    try:
        yield Server(await read_line(process))
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def run_once(server: Server, contender: str, load: Load, loop: str) -> Measure:
    """One contender in a fresh process."""
    process = await python("benchmarks.one_run", contender, server.url, json.dumps(attrs.asdict(load)), loop)
    try:
        await read_line(process)
        await server.begin(load.polls)
        if process.stdin is not None:
            process.stdin.write(b"go\n")
        waiting_kib = None if contender == YARDSTICK else await _while_all_wait(server, process.pid, load)
        told = json.loads(await read_line(process))
    finally:
        if process.returncode is None and process.stdin is not None:
            process.stdin.close()
        await process.wait()
    tally = await server.tally()
    before, peak = told["before_kib"], told["peak_kib"]
    return Measure(
        contender,
        load,
        told["cpu"],
        told["wall"],
        told["succeeded"],
        requests=tally["submits"] + tally["polls"],
        polls=tally["polls"],
        ended=tally["ended"],
        waiting_kib=None if waiting_kib is None or before is None else waiting_kib - before,
        peak_kib=None if peak is None or before is None else peak - before,
    )


async def _while_all_wait(server: Server, pid: int, load: Load) -> int | None:
    """The memory of a process when all its jobs are submitted and none was polled; None if that moment never came."""
    tally = await server.tally()
    while tally["submits"] < load.jobs and not tally["polls"]:
        await asyncio.sleep(TALLY_INTERVAL)
        tally = await server.tally()
    await asyncio.sleep(TALLY_INTERVAL + load.jobs * JOIN_TIME)  # the last answers are read, the last waits begin
    kib = resident_kib(pid)
    return None if (await server.tally())["polls"] else kib


async def python(module: str, *arguments: str) -> asyncio.subprocess.Process:
    """A module in a process of its own, with pipes to its standard input and output."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, stdin=pipe, stdout=pipe)


async def read_line(process: asyncio.subprocess.Process) -> str:
    """The next line that it prints."""
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RuntimeError("a process of the benchmark has ended early; what it said stands above")
    return line.decode().strip()


async def measure(sizes: Iterable[int], *, polls: int, rounds: int, loop: str) -> dict[int, dict[str, Rounds]]:
    """All contenders at all sizes, in turns. Small loads have one more round: they are short, and noisier."""
    found: dict[int, dict[str, Rounds]] = {}
    async with serving() as server:
        for jobs in sizes:
            load = Load.of(jobs, polls)
            measures: dict[str, list[Measure]] = {name: [] for name in CONTENDERS}
            turns = rounds + 1 if jobs < FEWEST_FOR_MEMORY else rounds
            for turn in range(turns):
                for name, found_so_far in measures.items():
                    progress(f"{jobs} jobs, round {turn + 1} of {turns}: {name}")
                    found_so_far.append(await run_once(server, name, load, loop))
            found[jobs] = {name: Rounds(each, measures[YARDSTICK]) for name, each in measures.items()}
    progress("")
    return found


def exponent(found: dict[int, dict[str, Rounds]], contender: str) -> float | None:
    """The slope of total CPU over the number of jobs on log-log paper; None with a single size."""
    if len(found) < 2:
        return None
    totals = [found[jobs][contender].median(lambda measure: measure.cpu) for jobs in found]
    return linear_regression([math.log(jobs) for jobs in found], [math.log(total) for total in totals]).slope


def report(found: dict[int, dict[str, Rounds]], *, loop: str) -> str:
    """The tables and the marks."""
    polls = next(iter(found.values()))[YARDSTICK].measures[0].load.polls
    parts = [f"Waiting: {polls} polls per job, at most 100 requests in flight, {loop}; CPU is the client's"]
    parts.append(
        "KiB/waiting job: resident when all jobs are submitted and none was polled; it grows with the first poll"
    )
    head = ["", "us/request", "ratio", "us/job", "KiB/waiting job", "peak KiB/job", "wall s", "jobs done", "polls/job"]
    for jobs, contenders in found.items():
        rows = [[name, *_figures(rounds)] for name, rounds in contenders.items()]
        parts.append(f"{jobs:,} jobs, median of {len(contenders[YARDSTICK].measures)}\n{table(head, rows)}")
    if len(found) > 1:
        slopes = [[name, f"{exponent(found, name):.3f}"] for name in CONTENDERS]
        parts.append(f"Growth exponent of total CPU\n{table(['', 'exponent'], slopes)}")
    parts.append("\n".join(["Marks", *_marks(found)]))
    return "\n\n".join(parts)


def _figures(rounds: Rounds) -> list[str]:
    jobs = rounds.measures[0].load.jobs
    memory = [
        rounds.kib_per_job(lambda measure: measure.waiting_kib),
        rounds.kib_per_job(lambda measure: measure.peak_kib),
    ]
    return [
        f"{rounds.median(lambda measure: measure.us_per_request):.0f}",
        f"{rounds.ratio:.2f}",
        f"{rounds.median(lambda measure: measure.cpu) / jobs * 1e6:.0f}",
        *("" if kib is None or jobs < FEWEST_FOR_MEMORY else f"{kib:.1f}" for kib in memory),
        f"{rounds.median(lambda measure: measure.wall):.1f}",
        f"{min(measure.succeeded for measure in rounds.measures):,}",
        f"{rounds.median(lambda measure: measure.polls) / jobs:.2f}",
    ]


def _marks(found: dict[int, dict[str, Rounds]]) -> Iterable[str]:
    for name in OURS:
        ratios = {jobs: contenders[name].ratio for jobs, contenders in found.items()}
        yield mark(
            f"{name}: CPU per request at most {RATIO_MARK:g}x bare aiohttp",
            ", ".join(f"{ratio:.2f}x at {jobs:,}" for jobs, ratio in ratios.items()),
            met=max(ratios.values()) <= RATIO_MARK,
        )
        slope = exponent(found, name)
        if slope is not None:
            yield mark(f"{name}: exponent at most {EXPONENT_MARK}", f"{slope:.3f}", met=slope <= EXPONENT_MARK)
    runs = [run for contenders in found.values() for rounds in contenders.values() for run in rounds.measures]
    complete = sum(run.is_complete for run in runs)
    yield mark(
        "every job done and the same number of polls for all, as the server counts",
        f"{complete} of {len(runs)} runs",
        met=complete == len(runs),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--quick", action="store_true", help="half a minute: fewer jobs, fewer rounds")
    parser.add_argument("--n", type=int, nargs="+", metavar="JOBS", help="numbers of jobs")
    parser.add_argument("--polls", type=int, default=3, help="polls per job (default: 3)")
    parser.add_argument("--rounds", type=int, help="repetitions of which the median is printed")
    parser.add_argument("--uvloop", action="store_true", help="all contenders on uvloop")


def loop_name(options: argparse.Namespace) -> str:
    """The loop that the options ask for."""
    return "uvloop" if options.uvloop else "asyncio"


def measured_report(options: argparse.Namespace) -> str:
    """Measure as the options say."""
    sizes = sorted(options.n or ([100, 1000] if options.quick else [100, 1000, 10_000]))
    rounds = options.rounds or (1 if options.quick else 3)
    loop = loop_name(options)
    return report(asyncio.run(measure(sizes, polls=options.polls, rounds=rounds, loop=loop)), loop=loop)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__.partition("\n")[0])
    add_arguments(parser)
    options = parser.parse_args()
    print(machine_line(), measured_report(options), sep="\n\n")


if __name__ == "__main__":
    main()
