"""The proof: a batch that is killed again and again comes to the same end, and nothing is bought twice.

How often it is killed is `RIVYA_KILLS`; `nox -s crash` kills it two hundred times.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from rivya_async.batch import Batch, JobState, RowRecord
from rivya_async.sandbox import Sandbox
from tests.batch.batch_kit import RESULT

CHILD = Path(__file__).with_name("crash_child.py")
KILLS = int(os.environ.get("RIVYA_KILLS", "25"))

POINTS = [
    "before the POST",
    "after the POST",
    "after the id",
    "after the end",
    "before the file has its place",
    "before the file is noted",
]


@attrs.define
class Ordeal:
    """One batch, and the processes that carry it one after the other."""

    sandbox: Sandbox
    folder: Path
    rows: int
    journal: Path
    errors: str = ""

    @property
    def out(self) -> Path:
        return self.folder / "out"

    async def start(self, **order: Any) -> asyncio.subprocess.Process:
        """A process that carries the batch, once it has begun to."""
        told = {
            "journal": str(self.journal),
            "out": str(self.out),
            "key": self.sandbox.api_key,
            "base_url": self.sandbox.base_url,
            "rows": self.rows,
            **order,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(CHILD), json.dumps(told), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line and not order:
            raise AssertionError((await process.communicate())[1].decode())
        return process

    async def to_the_end(self, **order: Any) -> int:
        """Carry it until the process ends; its exit code."""
        process = await self.start(**order)
        self.errors = (await process.communicate())[1].decode()
        return process.returncode or 0

    async def records(self) -> list[RowRecord]:
        async with Batch.open(self.journal) as batch:
            return [record async for record in batch.records()]

    async def check(self, *, failed: int = 0) -> None:
        """What must be true at the end, however it was reached."""
        records = await self.records()
        assert Counter(record.state for record in records) == Counter(
            {JobState.DOWNLOADED: self.rows - failed, JobState.FAILED: failed}
        )
        assert self.sandbox.received.purchases == self.rows
        bought = self.sandbox.received.purchases_by_key
        assert {record.key: 1 for record in records} == dict(bought)
        assert sum(record.credits for record in records) == self.sandbox.spent
        saved = [(file, record) for record in records for file in record.files]
        assert {(self.journal.parent / file.path).resolve() for file, _ in saved} == {
            path.resolve() for path in self.out.iterdir()
        }
        async with aiohttp.ClientSession() as http:
            for file, record in saved:
                content = (self.journal.parent / file.path).read_bytes()
                assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
                async with http.get(record.urls[0]) as answer:
                    assert await answer.read() == content


def ordeal(sandbox: Sandbox, folder: Path, count: int) -> Ordeal:
    return Ordeal(sandbox, folder, count, folder / "kites.journal")


async def test_killed_at_random_moments_it_comes_to_the_same_end(tmp_path: Path) -> None:
    dice = random.Random(7)
    rows = 300 if KILLS >= 200 else 100
    longest_life = 2 * 4 * rows // KILLS  # in changes of the journal, of which a row makes four
    seen = set()
    async with Sandbox(seed=7, speed=500, failure_rate=0.03, credits=10_000) as sandbox:
        for fault in ({"status": 503}, {"drop": True}, {"drop": True, "act": True}, {"status": 500, "act": True}):
            sandbox.faults.add(rate=0.0125, **fault)
        sandbox.faults.add(route=RESULT, rate=0.025, truncate=1000)
        sandbox.faults.add(route=RESULT, rate=0.025, drop=True)
        on = ordeal(sandbox, tmp_path, rows)
        for _ in range(KILLS):
            dies = (dice.randint(1, longest_life), dice.uniform(0.0, 0.03))
            assert await on.to_the_end(dies=dies, max_in_flight=4) in {-signal.SIGKILL, 0}, on.errors
            seen.add(tuple(sorted(Counter(record.state for record in await on.records()).items())))
        sandbox.faults.clear()
        assert await on.to_the_end() == 0, on.errors
        failed = sum(task.failure is not None for task in sandbox.world.tasks.values())
        await on.check(failed=failed)
    assert len(seen) > KILLS / 2, "it was killed at different stages"


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_each_step_it_comes_to_the_same_end(tmp_path: Path, point: str) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        on = ordeal(sandbox, tmp_path, 8)
        assert await on.to_the_end(point=point) == -9
        assert any(record.state is not JobState.DOWNLOADED for record in await on.records())
        assert await on.to_the_end() == 0, on.errors
        await on.check()


async def test_killed_in_the_middle_of_a_file_it_comes_to_the_same_end(tmp_path: Path) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        sandbox.faults.add(route=RESULT, nth=2, truncate=2000, stall=True)
        on = ordeal(sandbox, tmp_path, 3)
        process = await on.start()
        async with asyncio.timeout(30):
            while len(list(on.out.glob("*.png"))) < 2 or not list(on.out.rglob("*.part")):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.01)
        process.kill()
        await process.communicate()
        assert await on.to_the_end() == 0, on.errors
        await on.check()


async def test_a_journal_that_was_half_written_costs_nothing(tmp_path: Path) -> None:
    dice = random.Random(3)
    async with Sandbox(speed=100, credits=1000) as sandbox:
        on = ordeal(sandbox, tmp_path, 30)
        for _ in range(6):
            process = await on.start()
            await asyncio.sleep(dice.uniform(0.05, 0.3))
            if process.returncode is None:
                process.kill()
            await process.communicate()
            log = on.journal.with_name("kites.journal-wal")
            if log.exists():
                with log.open("r+b") as file:
                    file.truncate(int(log.stat().st_size * dice.uniform(0.5, 1.0)))
        assert await on.to_the_end() == 0, on.errors
        await on.check()


async def test_a_journal_that_was_copied_in_mid_run_buys_nothing_twice(tmp_path: Path) -> None:
    async with Sandbox(speed=50, credits=1000) as sandbox:
        on = ordeal(sandbox, tmp_path, 20)
        process = await on.start(max_in_flight=5)
        await asyncio.sleep(0.2)
        copy = tmp_path / "copy" / "kites.journal"
        copy.parent.mkdir()
        for path in tmp_path.glob("kites.journal*"):
            if not path.name.endswith((".lock", "-shm")):
                shutil.copy(path, copy.parent)
        await process.communicate()
        await on.check()
        twin = attrs.evolve(on, journal=copy)
        assert await twin.to_the_end() == 0, twin.errors
        await twin.check()


async def test_a_full_disk_under_the_journal_stops_the_buying_and_loses_nothing(tmp_path: Path) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        on = ordeal(sandbox, tmp_path, 40)
        assert await on.to_the_end(no_room_for_the_journal=True) == 1
        assert "JournalError" in on.errors
        assert "disk is full" in on.errors
        bought = sandbox.received.purchases
        assert bought < 40
        known = {record.key for record in await on.records() if record.state is not JobState.PLANNED}
        assert set(sandbox.received.purchases_by_key) <= known, "nothing was bought that was not written down before"
        assert await on.to_the_end() == 0, on.errors
        await on.check()


async def test_a_full_disk_under_the_files_loses_none(tmp_path: Path) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        on = ordeal(sandbox, tmp_path, 3)
        assert await on.to_the_end(no_room_for_files=True) == 0, on.errors
        left = [record for record in await on.records() if record.state is JobState.SUCCEEDED]
        assert left
        assert all(record.error_code == "DownloadError" for record in left)
        assert await on.to_the_end() == 0, on.errors
        await on.check()
