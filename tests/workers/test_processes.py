"""Worker processes as operators meet them: SIGTERM drains, what one leaves another takes up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from rivya_async.sandbox import Sandbox
from rivya_async.workers.queue import depth_of, trim
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import client, crew, states, until

POLL = "GET /api/v1/generations/{task_id}"


def cli(*arguments: str, redis: RedisServer, sandbox: Sandbox | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rivya_async", *arguments],
        env=environment(redis, sandbox),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(redis: RedisServer | None, sandbox: Sandbox | None) -> dict[str, str]:
    told = {name: value for name, value in os.environ.items() if not name.startswith("RIVYA_")}
    if redis is not None:
        told["RIVYA_BROKER"] = redis.url
    if sandbox is not None:
        told |= {"RIVYA_API_KEY": sandbox.api_key, "RIVYA_BASE_URL": sandbox.base_url}
    return told


async def test_sigterm_hands_open_waits_to_the_next_worker(redis: RedisServer) -> None:
    async with Sandbox(speed=500) as sandbox, client(redis) as worker:
        sandbox.faults.add(route=POLL, status=503)  # nobody hears of an end
        keys = [f"kite-{number}" for number in range(20)]
        await asyncio.gather(*(worker.generate.kiq("z-image", "A kite", idempotency_key=key) for key in keys))
        with crew(redis, sandbox) as first:
            await until(lambda: sandbox.received.purchases == 20)
            assert await asyncio.to_thread(first.end, 15.0) == 0
        assert await states(worker, keys) == {"submitted": 20}
        assert await worker.store.beats() == {}
        depth = await depth_of(worker.broker)
        assert depth is not None
        assert depth.held == 20
        sandbox.faults.clear()
        with crew(redis, sandbox) as second:

            async def done() -> bool:
                return (await states(worker, keys))["succeeded"] == 20

            await until(done)
            assert await asyncio.to_thread(second.end) == 0
        assert sandbox.received.purchases == 20
        assert await trim(worker.broker) == 20
        assert await depth_of(worker.broker) == type(depth)(0, 0)


async def test_the_command_works_until_it_is_told_to_end(redis: RedisServer, tmp_path: Path) -> None:
    async with Sandbox(speed=500) as sandbox, client(redis) as worker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rivya_async", "worker", "--json", "--telemetry"),
            env=environment(redis, sandbox),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            task = await worker.generate.kiq("z-image", "A secret prompt", idempotency_key="kite-1")
            told = (await task.wait_result(timeout=30)).return_value
            assert told["state"] == "succeeded"
            health = await asyncio.to_thread(cli, "worker", "--health", "--json", redis=redis)
            assert health.returncode == 0, health.stderr
            found = json.loads(health.stdout)
            assert found["dead_letters"] == 0
            assert [facts["draining"] for facts in found["workers"].values()] == [False]
        finally:
            process.send_signal(signal.SIGTERM)
            log = (await process.communicate())[1].decode()
        assert process.returncode == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    events = [line for line in lines if line.get("idempotency_key") == "kite-1"]
    assert [line["message"].split()[0] for line in events] == ["bought", "succeeded"]
    assert {line["task_id"] for line in events} == {told["task_id"]}
    for secret in ("A secret prompt", sandbox.api_key):
        assert secret not in log
    gone = await asyncio.to_thread(cli, "worker", "--health", redis=redis)
    assert gone.returncode == 6
    assert "0 workers at work" in gone.stdout


async def test_a_batch_is_carried_by_the_command_worker(redis: RedisServer, tmp_path: Path) -> None:
    manifest = tmp_path / "kites.jsonl"
    manifest.write_text("".join(json.dumps({"model": "z-image", "prompt": f"Kite {n}"}) + "\n" for n in range(10)))
    async with Sandbox(speed=500) as sandbox:
        with crew(redis, sandbox):
            for download_on in ("here", "worker"):
                out, journal = tmp_path / download_on, tmp_path / f"{download_on}.journal"
                command = ["batch", "run", str(manifest), "--journal", str(journal), "-o", str(out), "--json"]
                done = await asyncio.to_thread(
                    cli, *command, "--download-on", download_on, redis=redis, sandbox=sandbox
                )
                assert done.returncode == 0, done.stderr
                *rows, summary = map(json.loads, done.stdout.splitlines())
                assert len(rows) == 10
                assert summary["counts"]["downloaded"] == 10
                assert len(list(out.glob("*.png"))) == 10
    assert sandbox.received.purchases == 20


def test_the_command_says_what_it_needs(redis: RedisServer) -> None:
    without = subprocess.run(
        [sys.executable, "-m", "rivya_async", "worker"],
        env=environment(None, None),
        capture_output=True,
        text=True,
        check=False,
    )
    assert without.returncode == 2
    assert "--broker redis://HOST:PORT" in without.stderr
    keyless = cli("worker", redis=redis)
    assert keyless.returncode == 2
    assert "RIVYA_API_KEY" in keyless.stderr
    memory = cli("worker", "--broker", "memory://", redis=redis)
    assert memory.returncode == 2
    assert "within one process" in memory.stderr


def test_a_broker_that_is_not_there_is_said_soon(redis: RedisServer, tmp_path: Path) -> None:
    redis.stop()
    done = cli("worker", "--health", redis=redis)
    assert done.returncode == 6
    assert "is Redis there" in done.stderr


def test_a_sandbox_within_the_command_cannot_be_reached_by_workers(redis: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "kites.jsonl").write_text('{"model": "z-image", "prompt": "A kite"}\n')
    done = cli("batch", "run", str(tmp_path / "kites.jsonl"), "--sandbox", redis=redis)
    assert done.returncode == 2
    assert "rivya sandbox" in done.stderr


async def test_a_batch_on_the_in_memory_broker_needs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "kites.jsonl").write_text('{"model": "z-image", "prompt": "A kite"}\n')
    async with Sandbox(speed=500) as sandbox:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "rivya_async", "batch", "run", "kites.jsonl", "--broker", "memory://"],
            cwd=tmp_path,
            env=environment(None, sandbox),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "1 succeeded" in done.stdout
