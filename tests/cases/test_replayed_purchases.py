"""Purchases that the service answers with a job bought earlier under the same key cost this run nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from rivya_async import RetryPolicy, RivyaSession
from rivya_async._engine.environment import Environment
from rivya_async.batch import Batch, Row
from rivya_async.batch.export import flatten_record
from rivya_async.batch.journal_reader import read_records, read_summary
from rivya_async.sandbox import Sandbox
from rivya_async.workers import RemoteJobClient
from tests.batch.kit import FAST_POLL, Clock
from tests.cli.cli_kit import run_against
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import running_worker

NOON: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)
NOW: Final = NOON.timestamp()
MANIFEST: Final = '{"model": "z-image", "prompt": "A kite"}\n{"model": "z-image", "prompt": "A whale"}\n'


async def run_batch(sandbox: Sandbox, journal: Path, wall: Callable[[], float], rows: int = 2) -> list[bool]:
    async with Batch.open(journal, id="kites") as batch:
        await batch.add(Row(number=n, line=n, model="z-image", prompt=f"Kite {n}") for n in range(1, rows + 1))
        async with open_session(sandbox, wall) as session:
            return [record.replayed async for record in batch.run(session)]


def open_session(sandbox: Sandbox, wall: Callable[[], float]) -> RivyaSession:
    session = RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=FAST_POLL)
    session._environment = Environment(wall_time=wall)
    return session


async def test_batch_shows_replayed_rows_as_bought_earlier(tmp_path: Path) -> None:
    """B21."""
    clock = Clock()
    async with Sandbox(speed=10_000, clock=clock) as sandbox:
        assert await run_batch(sandbox, tmp_path / "first.journal", clock) == [False, False]
        first = read_summary(tmp_path / "first.journal", NOW)
        assert (first.spent, first.bought_earlier) == (2, 0)
        clock.offset += 60
        assert sorted(await run_batch(sandbox, tmp_path / "second.journal", clock, rows=3)) == [False, True, True]
        second = read_summary(tmp_path / "second.journal", NOW)
        exported = map(flatten_record, read_records(tmp_path / "second.journal"))
        assert [row["replayed"] for row in exported] == [True, True, False]
        assert (second.spent, second.reserved, second.bought_earlier) == (1, 0, 2)
        assert sandbox.request_log.purchases == 3
        clock.offset += 60  # the same journal: nothing is sent
        assert await run_batch(sandbox, tmp_path / "second.journal", clock, rows=3) == []
        assert read_summary(tmp_path / "second.journal", NOW).spent == 1


async def test_repeat_of_a_purchase_in_doubt_is_spent_by_this_batch(tmp_path: Path) -> None:
    """B21: an earlier try of the same journal bought the job, and its answer was lost."""
    clock = Clock()
    async with Sandbox(speed=10_000, clock=clock) as sandbox:
        sandbox.faults.add(route="POST /api/v1/generations", drop=True, act=True)
        async with Batch.open(tmp_path / "kites.journal") as batch:
            await batch.add([Row(number=1, line=1, model="z-image", prompt="A kite")])
            async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, retry=RetryPolicy(max_attempts=1)) as s:
                (record,) = [record async for record in batch.run(s, retry_timeout=0)]
            assert record.state == "intent"
        clock.offset += 60
        sandbox.faults.clear()
        async with Batch.open(tmp_path / "kites.journal") as batch, open_session(sandbox, clock) as session:
            (record,) = [record async for record in batch.run(session)]
        assert (record.state, record.replayed) == ("succeeded", False)
        assert sandbox.request_log.purchases == 1
    summary = read_summary(tmp_path / "kites.journal", NOW)
    assert (summary.spent, summary.bought_earlier) == (1, 0)


async def test_commands_say_that_jobs_were_bought_earlier(tmp_path: Path) -> None:
    """B21."""
    (tmp_path / "m.jsonl").write_text(MANIFEST)
    clock = Clock()
    clock.offset = -60.0
    async with Sandbox(speed=10_000, clock=clock) as sandbox:

        async def run(*line: str) -> str:
            ended = await run_against(*line, sandbox=sandbox, cwd=tmp_path)
            assert ended.code == 0, ended.err
            return ended.out

        batch = ("batch", "run", "m.jsonl", "--id", "kites", "--journal")
        assert "2 credits spent, 0 credits reserved\n" in await run(*batch, "one.journal")
        assert "1 credit  " in await run("generate", "z-image", "A kite", "--key", "kite-1")
        clock.offset = 0.0
        out = await run(*batch, "two.journal", "--report", "two.html")
        assert "0 credits spent, 0 credits reserved, 2 credits of jobs that had been bought earlier" in out
        assert '"earlier":2' in (tmp_path / "two.html").read_text()
        assert "1 credit, bought earlier" in await run("generate", "z-image", "A kite", "--key", "kite-1")
        assert json.loads(await run("generate", "z-image", "A kite", "--key", "kite-1", "--json"))["replayed"] is True
        assert sandbox.request_log.purchases == 3


@pytest.mark.parametrize("keeps_store", [True, False])
async def test_workers_report_replayed_jobs(keeps_store: bool, shared_redis: RedisServer, tmp_path: Path) -> None:
    """B21: the store of the workers, or the service, has the job of an earlier run."""
    clock = Clock()
    clock.offset = -60.0
    async with Sandbox(speed=10_000, clock=clock) as sandbox:
        for number in range(2):
            queue = "replays-kept" if keeps_store else f"replays-{number}"
            async with (
                running_worker(shared_redis, sandbox, queue=queue) as worker,
                RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
                RemoteJobClient(worker, session) as client,
                Batch.open(tmp_path / f"{number}.journal", id=f"kites-{keeps_store}") as batch,
            ):
                await batch.add([Row(number=1, line=1, model="z-image", prompt="A kite")])
                (record,) = [record async for record in batch.run(client)]
            assert (record.state, record.replayed) == ("succeeded", bool(number))
            clock.offset = 0.0
        assert sandbox.request_log.purchases == 1
