"""What a journal costs: the same jobs by `asyncio.gather`, which forgets, and by a `Batch`, which does not.

    python -m benchmarks batch [--quick] [--uvloop]

The sandbox runs in a process of its own and serves one file of 100 kB as every result, since painting pictures would
take all the time. All check their jobs against the catalogue, buy, wait, save, and hash what they saved. Between the
two stands a batch whose journal writes nothing after the plan: what it saves is what the journal costs. CPU is that of
the whole client process, threads included.
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
from rivya_async._engine.placing import placed
from rivya_async._sqlite_writer import GroupCommitWriter
from rivya_async.batch import Batch, Row, journal
from rivya_async.sandbox import Sandbox

from .event_loop import factory
from .report import mark, progress, table
from .waiting import loop_name, python, read_line

ROWS: Final = 10_000
IN_FLIGHT: Final = 1000
MOST: Final = 0.10
"""The claim: the journal's share of the CPU of a run."""

SPEED: Final = 20.0
"""Times faster than life."""

FILE: Final = bytes(range(256)) * 400
"""What every result is, in place of a picture."""

RESULT: Final = "GET /results/{task_id}/{name}"

KINDS: Final = {
    "gather": "gather over generate and download",
    "forgetful": "Batch.run, nothing written",
    "batch": "Batch.run",
}


async def serve() -> None:
    """The sandbox, until the standard input ends."""
    async with Sandbox(speed=SPEED, credits=10**9) as sandbox:
        sandbox.faults.add(route=RESULT, body=FILE, status=200, headers={"Content-Type": "image/png"})
        print(json.dumps({"url": sandbox.base_url, "key": sandbox.api_key}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def carry(kind: str, url: str, key: str, count: int) -> dict[str, Any]:
    """All jobs of one kind of run: seconds, CPU per job, peak memory."""
    with TemporaryDirectory() as folder:
        if kind == "forgetful":
            journal.GroupCommitWriter = DiscardingWriter  # type: ignore[attr-defined, assignment]  # imported there, for these keys
        async with RivyaSession(key, base_url=url) as session:
            began, cpu = time.perf_counter(), time.process_time()
            done = await (_gather if kind == "gather" else _batch)(session, count, Path(folder))
            return {
                "done": done,
                "seconds": time.perf_counter() - began,
                "cpu": (time.process_time() - cpu) / count,
                "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }


async def _gather(session: RivyaSession, count: int, folder: Path) -> int:
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> int:
        async with room:
            job = await session.generate("z-image", f"Gather: kite number {number}", check=True)
            return len([placed(path, folder, folder) for path in await session.download(job, folder / "room")])

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
    """Both kinds in turns, each in a fresh process."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    sandbox = await python(__name__, "serve")
    told = json.loads(await read_line(sandbox))
    for turn in range(rounds):
        for kind, name in KINDS.items():
            progress(f"{count:,} rows, round {turn + 1} of {rounds}: {name}")
            client = await python(__name__, kind, told["url"], told["key"], str(count), loop)
            found[kind].append(json.loads(await read_line(client)))
            await client.wait()
    progress("")
    if sandbox.stdin is not None:
        sandbox.stdin.write(b"\n")
    await sandbox.wait()
    return found


def report(found: dict[str, list[dict[str, Any]]], count: int, loop: str) -> str:
    """The table and the mark."""
    cpu = {kind: median(each["cpu"] for each in runs) for kind, runs in found.items()}
    rows = [
        [
            KINDS[kind],
            f"{cpu[kind] * 1e6:.0f}",
            f"{cpu[kind] / cpu['gather']:.2f}",
            f"{count / median(each['seconds'] for each in runs):,.0f}",
            f"{median(each['mib'] for each in runs):.0f}",
            f"{min(each['done'] for each in runs):,}",
        ]
        for kind, runs in found.items()
    ]
    share = 1 - cpu["forgetful"] / cpu["batch"]
    return "\n".join(
        [
            f"Batch: {count:,} rows, {IN_FLIGHT:,} under way, {len(found['gather'])} rounds, {loop}",
            table(["", "CPU us/row", "ratio", "rows/s", "peak MiB", "rows done"], rows),
            "Marks",
            mark(f"the journal is at most {MOST:.0%} of the CPU of a run", f"{share:.1%}", met=share <= MOST),
        ]
    )


def measured_report(options: argparse.Namespace) -> str:
    """Measure and report."""
    count, rounds = (1000, 1) if options.quick else (ROWS, 3)
    loop = loop_name(options)
    return report(asyncio.run(measure(count, rounds, loop)), count, loop)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        kind, url, key, count, loop = sys.argv[1:]
        with asyncio.Runner(loop_factory=factory(loop)) as runner:
            print(json.dumps(runner.run(carry(kind, url, key, int(count)))), flush=True)
