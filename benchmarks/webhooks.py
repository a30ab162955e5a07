"""Polls per job and delay of results with webhooks.

    python -m benchmarks webhooks [--quick] [--uvloop]

The sandbox runs in another process at real speed: an image takes about 14 seconds. A new session without learned
durations purchases all jobs at once. The delay is the time from the end of a job to the return of `generate`.
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

from .processes import loop_factory, loop_name, read_line, start_module
from .report import format_table, show_progress, target

JOBS: Final = 2000
MAX_POLLS: Final = 0.3
"""Target: maximum polls per job with webhooks."""

MAX_DELAY: Final = 0.050
"""Target: maximum median delay with webhooks, in seconds."""

BACKLOG: Final = 512
"""Connections that can wait for acceptance."""

QUICK_SPEED: Final = 3.0
"""Speed factor of the sandbox with --quick."""

EVENTS: Final = ("generation.succeeded", "generation.failed")

RUNS: Final = {"none": "no webhooks", "all": "webhooks", "half": "every second delivery lost"}


async def serve(kind: str, speed: float) -> None:
    """Serves a sandbox until standard input ends, then prints the number of polls."""
    async with Sandbox(speed=speed, allow_local_webhooks=True) as sandbox:
        if kind == "half":
            sandbox.faults.add(route="webhook delivery", nth=range(1, 100_000, 2), drop=True)
        print(json.dumps({"url": sandbox.base_url, "key": sandbox.api_key}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        polls = sum(each.route == "GET /api/v1/generations/{task_id}" for each in sandbox.request_log)
        print(json.dumps({"polls": polls}), flush=True)


async def generate_all(kind: str, url: str, key: str, jobs: int) -> dict[str, Any]:
    """Generates all jobs at once. Returns the delays in seconds."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(RivyaSession(key, base_url=url))
        if kind != "none":
            await _run_receiver(session, stack)
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


async def _run_receiver(session: RivyaSession, stack: AsyncExitStack) -> None:
    """Runs a receiver and registers it at the sandbox."""
    here = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    endpoint = await session.webhooks.create("Mine", f"http://127.0.0.1:{here.getsockname()[1]}/", EVENTS)
    receiver = WebhookReceiver(endpoint.signing_secret or "", session=session)
    runner = web.AppRunner(receiver.aiohttp_app(), access_log=None)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.SockSite(runner, here, backlog=BACKLOG).start()


async def measure(jobs: int, speed: float, loop: str) -> dict[str, dict[str, Any]]:
    """Measures each variant with new processes."""
    results = {}
    for kind, name in RUNS.items():
        show_progress(f"{jobs:,} jobs, {name}")
        sandbox = await start_module(__name__, "serve", kind, str(speed))
        result = json.loads(await read_line(sandbox))
        client = await start_module(__name__, "generate", kind, result["url"], result["key"], str(jobs), loop)
        results[kind] = json.loads(await read_line(client))
        await client.wait()
        if sandbox.stdin is not None:
            sandbox.stdin.write(b"\n")
        results[kind]["polls"] = json.loads(await read_line(sandbox))["polls"] / jobs
        await sandbox.wait()
    show_progress("")
    return results


def report(results: dict[str, dict[str, Any]], jobs: int, speed: float, loop: str) -> str:
    """Formats the table and the targets."""
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
        for kind, each in results.items()
    ]
    pace = "" if speed == 1.0 else f", {speed:g} times faster than life"
    fewest = min(each["succeeded"] for each in results.values())
    polls, delay = results["all"]["polls"], median(results["all"]["delays"])
    return "\n".join(
        [
            f"Webhooks: {jobs:,} pictures bought at once by a session that has learned nothing{pace}, {loop}",
            format_table(head, rows),
            "Marks",
            target(f"with webhooks at most {MAX_POLLS:g} polls per job", f"{polls:.2f}", met=polls <= MAX_POLLS),
            target(
                f"with webhooks an end is received within {MAX_DELAY * 1e3:.0f} ms, as the median",
                f"{delay * 1e3:.0f} ms",
                met=delay <= MAX_DELAY,
            ),
            target("every job is done, also with every second delivery lost", f"{fewest:,}", met=fewest == jobs),
        ]
    )


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures for two to three minutes, or less with fewer jobs, and formats."""
    jobs, speed, loop = (*((500, QUICK_SPEED) if options.quick else (JOBS, 1.0)), loop_name(options))
    return report(asyncio.run(measure(jobs, speed, loop)), jobs, speed, loop)


def main() -> None:
    """Serves or generates.

    Arguments: `serve`, kind, speed; or `generate`, kind, URL, key, number of jobs, `uvloop` or `asyncio`.
    """
    what, kind, *others = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve(kind, float(*others)))
        return
    url, key, jobs, loop = others
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        print(json.dumps(runner.run(generate_all(kind, url, key, int(jobs)))), flush=True)


if __name__ == "__main__":
    main()
