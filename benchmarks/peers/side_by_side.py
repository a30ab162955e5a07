"""All contenders side by side: what a request and a job cost, and what is lost or bought twice under faults.

    python -m benchmarks peers [--n 100 1000] [--polls 3] [--rounds 1] [--peer NAME] [--plain | --tls] [--faults]

The polls of all jobs together come at the same pace at every size, so slowly that no SDK need fall behind. A job ends
at its n-th poll rather than by time, so the counts are equal even for an SDK that has an interval of its own.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from ..report import progress
from . import tables
from .contender import CONTENDERS
from .environment import environment
from .one_run import Work
from .runs import Conditions, Run, Runner, running

POLLS_PER_SECOND: Final = 400
"""Of all jobs together, where an SDK lets us choose: 2.5 ms of client time for each."""

FAULTY_JOBS: Final = 200
"""So few that nobody is overloaded: what is lost here is lost to the faults."""


SIZES: Final = (100, 1000)


def work(jobs: int) -> Work:
    """The pace and the time limit for a number of jobs: a client may take seven times what the pace of polls takes."""
    return Work(jobs, interval=jobs / POLLS_PER_SECOND, limit=60 + 0.05 * jobs)


async def _runs(runner: Runner, jobs: int, conditions: Conditions, options: argparse.Namespace) -> list[Run]:
    """One run for each contender that can do it: of several rounds, in turns, the one with the median CPU."""
    contenders = [
        one for name, one in CONTENDERS.items() if options.peer in name and (conditions.tls or not one.tls_only)
    ]
    rounds: list[list[Run]] = []
    for turn in range(options.rounds or 1):
        rounds.append([])
        for contender in contenders:
            progress(f"{jobs} jobs, round {turn + 1} of {options.rounds or 1}: {contender.name}")
            rounds[-1].append(await runner.run(contender, work(jobs), conditions))
    progress("")
    return [sorted(each, key=lambda run: run.cpu)[len(each) // 2] for each in zip(*rounds, strict=True)]


async def measure(options: argparse.Namespace) -> str:
    """Measure as the options say."""
    made = environment()
    made.make()
    parts = [made.versions()]
    transports = [tls for tls, unwanted in [(False, options.tls), (True, options.plain)] if not unwanted]
    async with running(made) as runner:
        for tls in transports:
            for jobs in options.n or SIZES:
                runs = await _runs(runner, jobs, Conditions(options.polls, tls=tls), options)
                parts.append(tables.costs(runs))
        if options.faults:
            runs = await _runs(runner, FAULTY_JOBS, Conditions(options.polls, tls=True, faults=True), options)
            parts.append(tables.faults(runs))
    return "\n\n".join(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument("--peer", default="", metavar="NAME", help="peers: contenders whose names contain this")
    transports = parser.add_mutually_exclusive_group()
    transports.add_argument("--plain", action="store_true", help="peers: over plain HTTP only (not all SDKs can)")
    transports.add_argument("--tls", action="store_true", help="peers: over TLS only")
    parser.add_argument("--faults", action="store_true", help="peers: also what is lost under faults")


def measured_report(options: argparse.Namespace) -> str:
    """Measure, after making the environment if there is none yet."""
    return asyncio.run(measure(options))
