"""Crash tests: a batch that is killed repeatedly reaches the same end, and purchases nothing twice.

`RIVYA_KILLS` is the number of kills; `nox -s crash` sets it to two hundred.
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
from tests.batch.kit import RESULT

CHILD = Path(__file__).with_name("crash_child.py")
KILLS = int(os.environ.get("RIVYA_KILLS", "25"))

POINTS = [
    "before the POST",
    "after the POST",
    "after the id",
    "after the end",
    "before the file is moved",
    "before the file is recorded",
]


@attrs.define
class CrashEnvironment:
    """One batch, and the processes that run it one after the other."""

    sandbox: Sandbox
    folder: Path
    rows: int
    journal: Path
    errors: str = ""

    @property
    def out(self) -> Path:
        return self.folder / "out"

    async def start(self, **overrides: Any) -> asyncio.subprocess.Process:
        """Starts a process that runs the batch, and returns it when the run begins."""
        options = {
            "journal": str(self.journal),
            "out": str(self.out),
            "key": self.sandbox.api_key,
            "base_url": self.sandbox.base_url,
            "rows": self.rows,
            **overrides,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CHILD),
            json.dumps(options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line and not overrides:
            raise AssertionError((await process.communicate())[1].decode())
        return process

    async def run_to_end(self, **overrides: Any) -> int:
        """Runs the batch in a process and returns its exit code."""
        process = await self.start(**overrides)
        self.errors = (await process.communicate())[1].decode()
        return process.returncode or 0

    async def records(self) -> list[RowRecord]:
        async with Batch.open(self.journal) as batch:
            return [record async for record in batch.records()]

    async def check(self, *, failed: int = 0) -> None:
        """Asserts the invariants of a finished batch."""
        records = await self.records()
        assert Counter(record.state for record in records) == Counter(
            {JobState.DOWNLOADED: self.rows - failed, JobState.FAILED: failed}
        )
        assert self.sandbox.request_log.purchases == self.rows
        purchases = self.sandbox.request_log.purchases_by_key
        assert {record.key: 1 for record in records} == dict(purchases)
        assert sum(record.credits for record in records) == self.sandbox.spent
        saved = [(file, record) for record in records for file in record.files]
        assert {(self.journal.parent / file.path).resolve() for file, _ in saved} == {
            path.resolve() for path in self.out.iterdir()
        }
        async with aiohttp.ClientSession() as http:
            for file, record in saved:
                content = (self.journal.parent / file.path).read_bytes()
                assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
                async with http.get(record.urls[0]) as response:
                    assert await response.read() == content


def crash_environment(sandbox: Sandbox, folder: Path, count: int) -> CrashEnvironment:
    return CrashEnvironment(sandbox, folder, count, folder / "kites.journal")


async def test_killed_at_random_moments(tmp_path: Path) -> None:
    rng = random.Random(7)
    rows = 300 if KILLS >= 200 else 100
    max_changes = 2 * 4 * rows // KILLS  # of the journal before a kill; a row makes four
    seen = set()
    async with Sandbox(seed=7, speed=500, failure_rate=0.03, credits=10_000) as sandbox:
        for fault in ({"status": 503}, {"drop": True}, {"drop": True, "act": True}, {"status": 500, "act": True}):
            sandbox.faults.add(rate=0.0125, **fault)
        sandbox.faults.add(route=RESULT, rate=0.025, truncate=1000)
        sandbox.faults.add(route=RESULT, rate=0.025, drop=True)
        env = crash_environment(sandbox, tmp_path, rows)
        for _ in range(KILLS):
            kill_after = (rng.randint(1, max_changes), rng.uniform(0.0, 0.03))
            assert await env.run_to_end(kill_after=kill_after, max_in_flight=4) in {-signal.SIGKILL, 0}, env.errors
            seen.add(tuple(sorted(Counter(record.state for record in await env.records()).items())))
        sandbox.faults.clear()
        assert await env.run_to_end() == 0, env.errors
        failed = sum(task.failure is not None for task in sandbox.service_state.tasks.values())
        await env.check(failed=failed)
    assert len(seen) > KILLS / 2, "it was killed in different states"


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_each_step(tmp_path: Path, point: str) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        env = crash_environment(sandbox, tmp_path, 8)
        assert await env.run_to_end(point=point) == -9
        assert any(record.state is not JobState.DOWNLOADED for record in await env.records())
        assert await env.run_to_end() == 0, env.errors
        await env.check()


async def test_killed_during_a_download(tmp_path: Path) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        sandbox.faults.add(route=RESULT, nth=2, truncate=2000, stall=True)
        env = crash_environment(sandbox, tmp_path, 3)
        process = await env.start()
        async with asyncio.timeout(30):
            while len(list(env.out.glob("*.png"))) < 2 or not list(env.out.rglob("*.part")):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.01)
        process.kill()
        await process.communicate()
        assert await env.run_to_end() == 0, env.errors
        await env.check()


async def test_truncated_journal_loses_nothing(tmp_path: Path) -> None:
    rng = random.Random(3)
    async with Sandbox(speed=100, credits=1000) as sandbox:
        env = crash_environment(sandbox, tmp_path, 30)
        for _ in range(6):
            process = await env.start()
            await asyncio.sleep(rng.uniform(0.05, 0.3))
            if process.returncode is None:
                process.kill()
            await process.communicate()
            log = env.journal.with_name("kites.journal-wal")
            if log.exists():
                with log.open("r+b") as file:
                    file.truncate(int(log.stat().st_size * rng.uniform(0.5, 1.0)))
        assert await env.run_to_end() == 0, env.errors
        await env.check()


async def test_copied_journal_purchases_nothing_twice(tmp_path: Path) -> None:
    async with Sandbox(speed=50, credits=1000) as sandbox:
        env = crash_environment(sandbox, tmp_path, 20)
        process = await env.start(max_in_flight=5)
        await asyncio.sleep(0.2)
        copy = tmp_path / "copy" / "kites.journal"
        copy.parent.mkdir()
        for path in tmp_path.glob("kites.journal*"):
            if not path.name.endswith((".lock", "-shm")):
                shutil.copy(path, copy.parent)
        await process.communicate()
        await env.check()
        twin = attrs.evolve(env, journal=copy)
        assert await twin.run_to_end() == 0, twin.errors
        await twin.check()


async def test_full_disk_of_the_journal_stops_purchases(tmp_path: Path) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        env = crash_environment(sandbox, tmp_path, 40)
        assert await env.run_to_end(full_journal_disk=True) == 1
        assert "JournalError" in env.errors
        assert "disk is full" in env.errors
        purchases = sandbox.request_log.purchases
        assert purchases < 40
        known = {record.key for record in await env.records() if record.state is not JobState.PLANNED}
        assert set(sandbox.request_log.purchases_by_key) <= known, (
            "every purchase was in the journal before it was sent"
        )
        assert await env.run_to_end() == 0, env.errors
        await env.check()


async def test_full_disk_of_the_files_loses_none(tmp_path: Path) -> None:
    async with Sandbox(speed=500, credits=1000) as sandbox:
        env = crash_environment(sandbox, tmp_path, 3)
        assert await env.run_to_end(full_files_disk=True) == 0, env.errors
        left = [record for record in await env.records() if record.state is JobState.SUCCEEDED]
        assert left
        assert all(record.error_type == "DownloadError" for record in left)
        assert await env.run_to_end() == 0, env.errors
        await env.check()
