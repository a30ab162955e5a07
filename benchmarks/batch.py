"""CPU cost of the batch journal: the same jobs with `asyncio.gather` and with a `Batch`.

    python -m benchmarks batch [--quick] [--uvloop]

The sandbox runs in another process and serves one file of 100 kB as every result, because rendering would dominate.
Each method validates, purchases, waits, saves and hashes. A third method is a batch whose journal writes nothing after
the plan: the difference is the cost of the journal. CPU is that of the client process with its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from rivya_async import RivyaSession
from rivya_async._engine.transfers.file_io import move_into_place
from rivya_async._sqlite_writer import GroupCommitWriter
from rivya_async.batch import Batch, Row, journal
from rivya_async.sandbox import Sandbox

from .processes import loop_factory, loop_name, read_line, start_module
from .report import format_table, show_progress, target

ROWS: Final = 10_000
IN_FLIGHT: Final = 1000
MAX_JOURNAL_SHARE: Final = 0.10
"""Target: maximum share of the journal in the CPU of a run."""

SPEED: Final = 20.0
"""Speed factor of the sandbox."""

RESULT_FILE: Final = bytes(range(256)) * 400
"""Content of every result file."""

RESULT_ROUTE: Final = "GET /results/{task_id}/{name}"

KINDS: Final = {
    "gather": "gather over generate and download",
    "forgetful": "Batch.run without journal writes",
    "batch": "Batch.run",
}


async def serve() -> None:
    """Serves a sandbox until standard input ends."""
    async with Sandbox(speed=SPEED, credits=10**9) as sandbox:
        sandbox.faults.add(route=RESULT_ROUTE, body=RESULT_FILE, status=200, headers={"Content-Type": "image/png"})
        print(json.dumps({"url": sandbox.base_url, "key": sandbox.api_key}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def run_jobs(kind: str, url: str, key: str, count: int) -> dict[str, Any]:
    """Runs all jobs with one method. Returns seconds, CPU per job and peak memory."""
    with TemporaryDirectory() as folder:
        if kind == "forgetful":
            journal.GroupCommitWriter = DiscardingWriter  # type: ignore[attr-defined, assignment]  # imported there, for these keys
        async with RivyaSession(key, base_url=url) as session:
            started_at, cpu = time.perf_counter(), time.process_time()
            done = await (_gather if kind == "gather" else _batch)(session, count, Path(folder))
            return {
                "done": done,
                "seconds": time.perf_counter() - started_at,
                "cpu": (time.process_time() - cpu) / count,
                "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }


async def _gather(session: RivyaSession, count: int, folder: Path) -> int:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> int:
        async with slots:
            job = await session.generate("z-image", f"Gather: kite number {number}", check=True)
            return len(
                [move_into_place(path, folder, folder) for path in await session.download(job, f"{folder}/staging/")]
            )

    return sum(await asyncio.gather(*(one(number) for number in range(count))))


async def _batch(session: RivyaSession, count: int, folder: Path) -> int:
    rows = (Row(number=n, line=n, model="z-image", prompt=f"Batch: kite number {n}") for n in range(1, count + 1))
    async with Batch.open(folder / f"{time.time_ns()}.journal") as batch:
        await batch.add(rows)
        records = batch.run(session, max_in_flight=IN_FLIGHT, download_to=folder / "out")
        return len([record async for record in records if record.files])


class DiscardingWriter(GroupCommitWriter[tuple[str, str], Any]):
    """A writer that discards every change, so that a journal holds its plan only."""

    def put(self, changes: Mapping[tuple[str, str], Any]) -> None:
        """Discards changes."""

    def schedule_commit(self) -> asyncio.Future[None]:
        """Returns a commit that is done."""
        commit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        commit.set_result(None)
        return commit


async def measure(count: int, rounds: int, loop: str) -> dict[str, list[dict[str, Any]]]:
    """Measures all methods alternately, each in a new process."""
    results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    sandbox = await start_module(__name__, "serve")
    result = json.loads(await read_line(sandbox))
    for turn in range(rounds):
        for kind, name in KINDS.items():
            show_progress(f"{count:,} rows, round {turn + 1} of {rounds}: {name}")
            client = await start_module(__name__, kind, result["url"], result["key"], str(count), loop)
            results[kind].append(json.loads(await read_line(client)))
            await client.wait()
    show_progress("")
    if sandbox.stdin is not None:
        sandbox.stdin.write(b"\n")
    await sandbox.wait()
    return results


def report(results: dict[str, list[dict[str, Any]]], count: int, loop: str) -> str:
    """Formats the table and the target."""
    cpu = {kind: median(each["cpu"] for each in runs) for kind, runs in results.items()}
    rows = [
        [
            KINDS[kind],
            f"{cpu[kind] * 1e6:.0f}",
            f"{cpu[kind] / cpu['gather']:.2f}",
            f"{count / median(each['seconds'] for each in runs):,.0f}",
            f"{median(each['mib'] for each in runs):.0f}",
            f"{min(each['done'] for each in runs):,}",
        ]
        for kind, runs in results.items()
    ]
    journal_share = 1 - cpu["forgetful"] / cpu["batch"]
    return "\n".join(
        [
            f"Batch: {count:,} rows, {IN_FLIGHT:,} in flight, {len(results['gather'])} rounds, {loop}",
            format_table(["", "CPU us/row", "ratio", "rows/s", "peak MiB", "rows done"], rows),
            "Marks",
            target(
                f"the journal is at most {MAX_JOURNAL_SHARE:.0%} of the CPU of a run",
                f"{journal_share:.1%}",
                met=journal_share <= MAX_JOURNAL_SHARE,
            ),
        ]
    )


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures and formats."""
    count, rounds = (1000, 1) if options.quick else (ROWS, 3)
    loop = loop_name(options)
    return report(asyncio.run(measure(count, rounds, loop)), count, loop)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        kind, url, key, count, loop = sys.argv[1:]
        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            print(json.dumps(runner.run(run_jobs(kind, url, key, int(count)))), flush=True)
