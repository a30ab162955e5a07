"""Jobs whose ends come by webhook: how many polls are left, and how soon an end is seen.

    python -m benchmarks webhooks [--quick] [--uvloop]

The sandbox runs and delivers in a process of its own, at the pace of life: a picture takes about 14 seconds. All jobs
are bought at once by a fresh session, which has learned nothing. The delay runs from the end of a job, as its record
says, to the moment when `generate` returns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from contextlib import AsyncExitStack
from statistics import median, quantiles
from typing import Any, Final

from aiohttp import web

from rivya_async import Generation, RivyaSession
from rivya_async.receiver import WebhookReceiver
from rivya_async.sandbox import Sandbox

from .event_loop import factory
from .report import mark, progress, table
from .waiting import loop_name, python, read_line

JOBS: Final = 2000
MOST_POLLS: Final = 0.3
"""The claim: polls per job with webhooks."""

MOST_DELAY: Final = 0.050
"""The claim: seconds from an end to its `generate`, as the median, with webhooks."""

BACKLOG: Final = 512
"""Deliveries that may wait to be accepted."""

QUICK_SPEED: Final = 3.0
"""So many times faster than life."""

EVENTS: Final = ("generation.succeeded", "generation.failed")

RUNS: Final = {"none": "no webhooks", "all": "webhooks", "half": "every second delivery lost"}


async def serve(kind: str, speed: float) -> None:
    """The sandbox, until the standard input ends; then it prints how many polls it received."""
    async with Sandbox(speed=speed, allow_local_webhooks=True) as sandbox:
        if kind == "half":
            sandbox.faults.add(route="webhook delivery", nth=range(1, 100_000, 2), drop=True)
        print(json.dumps({"url": sandbox.base_url, "key": sandbox.api_key}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        polls = sum(each.route == "GET /api/v1/generations/{task_id}" for each in sandbox.request_log)
        print(json.dumps({"polls": polls}), flush=True)


async def buy(kind: str, url: str, key: str, jobs: int) -> dict[str, Any]:
    """Buy all at once, and wait for all; the delays in seconds."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(RivyaSession(key, base_url=url))
        if kind != "none":
            await _receive(session, stack)
        delays = []

        async def generate(n: int) -> Generation:
            ended = await session.generate("z-image", f"Poster number {n}")
            if ended.updated_at is not None:
                delays.append(time.time() - ended.updated_at.timestamp())  # noqa: TID251 - one machine, one clock
            return ended

        cpu = time.process_time()
        ended = await asyncio.gather(*(generate(n) for n in range(jobs)))
        return {
            "succeeded": sum(each.succeeded for each in ended),
            "delays": delays,
            "cpu": (time.process_time() - cpu) / jobs,
        }


async def _receive(session: RivyaSession, stack: AsyncExitStack) -> None:
    """A receiver of ours, whose address the sandbox knows."""
    here = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    endpoint = await session.webhooks.create("Mine", f"http://127.0.0.1:{here.getsockname()[1]}/", EVENTS)
    receiver = WebhookReceiver(endpoint.signing_secret or "", session=session)
    runner = web.AppRunner(receiver.aiohttp_app(), access_log=None)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.SockSite(runner, here, backlog=BACKLOG).start()


async def measure(jobs: int, speed: float, loop: str) -> dict[str, dict[str, Any]]:
    """One fresh pair of processes for each run."""
    found = {}
    for kind, name in RUNS.items():
        progress(f"{jobs:,} jobs, {name}")
        sandbox = await python(__name__, "serve", kind, str(speed))
        told = json.loads(await read_line(sandbox))
        client = await python(__name__, "buy", kind, told["url"], told["key"], str(jobs), loop)
        found[kind] = json.loads(await read_line(client))
        await client.wait()
        if sandbox.stdin is not None:
            sandbox.stdin.write(b"\n")
        found[kind]["polls"] = json.loads(await read_line(sandbox))["polls"] / jobs
        await sandbox.wait()
    progress("")
    return found


def report(found: dict[str, dict[str, Any]], jobs: int, speed: float, loop: str) -> str:
    """The table and the marks."""
    head = ["", "polls/job", "median delay, ms", "p95, s", "longest, s", "client CPU, ms/job", "jobs done"]
    rows = [
        [
            RUNS[kind],
            f"{each['polls']:.2f}",
            f"{median(each['delays']) * 1e3:.0f}",
            f"{quantiles(each['delays'], n=20)[-1]:.2f}",
            f"{max(each['delays']):.1f}",
            f"{each['cpu'] * 1e3:.1f}",
            f"{each['succeeded']:,}",
        ]
        for kind, each in found.items()
    ]
    pace = "" if speed == 1.0 else f", {speed:g} times faster than life"
    fewest = min(each["succeeded"] for each in found.values())
    polls, delay = found["all"]["polls"], median(found["all"]["delays"])
    return "\n".join(
        [
            f"Webhooks: {jobs:,} pictures bought at once by a session that has learned nothing{pace}, {loop}",
            table(head, rows),
            "Marks",
            mark(f"with webhooks at most {MOST_POLLS:g} polls per job", f"{polls:.2f}", met=polls <= MOST_POLLS),
            mark(
                f"with webhooks an end is seen within {MOST_DELAY * 1e3:.0f} ms, as the median",
                f"{delay * 1e3:.0f} ms",
                met=delay <= MOST_DELAY,
            ),
            mark("every job is done, also with every second delivery lost", f"{fewest:,}", met=fewest == jobs),
        ]
    )


def measured_report(options: argparse.Namespace) -> str:
    """Measure as the options say: two to three minutes, or less with fewer jobs."""
    jobs, speed, loop = (*((500, QUICK_SPEED) if options.quick else (JOBS, 1.0)), loop_name(options))
    return report(asyncio.run(measure(jobs, speed, loop)), jobs, speed, loop)


def main() -> None:
    """Arguments: `serve`, kind and speed; or `buy`, kind, URL, key, number of jobs, `uvloop` or `asyncio`."""
    what, kind, *others = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve(kind, float(*others)))
        return
    url, key, jobs, loop = others
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        print(json.dumps(runner.run(buy(kind, url, key, int(jobs)))), flush=True)


if __name__ == "__main__":
    main()
