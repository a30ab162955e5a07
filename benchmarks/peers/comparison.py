"""Comparison of all clients: CPU per request and job, and lost or repeated purchases under faults.

    python -m benchmarks peers [--n 100 1000] [--polls 3] [--rounds 1] [--peer NAME] [--plain | --tls] [--faults]

The total poll rate is the same at every size, and low enough for every SDK. A job ends at its n-th poll instead of at a
time, so that the counts are equal also for an SDK with a fixed interval.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from ..report import show_progress
from . import tables
from .client_process import Workload
from .clients import CLIENTS
from .environment import find_environment
from .runner import Conditions, Run, Runner, open_runner

POLLS_PER_SECOND: Final = 400
"""Total poll rate where an SDK has a configurable interval: 2.5 ms of client time for each."""

JOBS_UNDER_FAULTS: Final = 200
"""Jobs under faults: few enough that overload causes no losses."""


SIZES: Final = (100, 1000)


def make_workload(jobs: int) -> Workload:
    """Returns interval and time limit for a number of jobs: a client can take seven times the time of the polls."""
    return Workload(jobs, interval=jobs / POLLS_PER_SECOND, limit=60 + 0.05 * jobs)


async def _run_clients(runner: Runner, jobs: int, conditions: Conditions, options: argparse.Namespace) -> list[Run]:
    """Returns one run per applicable client: of several rounds the one with the median CPU."""
    clients = [
        client for name, client in CLIENTS.items() if options.peer in name and (conditions.tls or not client.tls_only)
    ]
    rounds: list[list[Run]] = []
    for turn in range(options.rounds or 1):
        rounds.append([])
        for client in clients:
            show_progress(f"{jobs} jobs, round {turn + 1} of {options.rounds or 1}: {client.name}")
            rounds[-1].append(await runner.run(client, make_workload(jobs), conditions))
    show_progress("")
    return [sorted(each, key=lambda run: run.cpu)[len(each) // 2] for each in zip(*rounds, strict=True)]


async def measure(options: argparse.Namespace) -> str:
    """Measures and formats."""
    peer_environment = find_environment()
    peer_environment.install()
    parts = [peer_environment.versions()]
    transports = [tls for tls, unwanted in [(False, options.tls), (True, options.plain)] if not unwanted]
    async with open_runner(peer_environment) as runner:
        for tls in transports:
            for jobs in options.n or SIZES:
                runs = await _run_clients(runner, jobs, Conditions(options.polls, tls=tls), options)
                parts.append(tables.format_costs(runs))
        if options.faults:
            runs = await _run_clients(
                runner, JOBS_UNDER_FAULTS, Conditions(options.polls, tls=True, faults=True), options
            )
            parts.append(tables.format_faults(runs))
    return "\n\n".join(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--peer", default="", metavar="NAME", help="peers: clients whose names contain this")
    transports = parser.add_mutually_exclusive_group()
    transports.add_argument("--plain", action="store_true", help="peers: over plain HTTP only (not all SDKs can)")
    transports.add_argument("--tls", action="store_true", help="waiting, peers: over TLS only")
    parser.add_argument("--faults", action="store_true", help="peers: also what is lost under faults")


def run_benchmark(options: argparse.Namespace) -> str:
    """Installs the other SDKs unless done before, measures and formats."""
    return asyncio.run(measure(options))
