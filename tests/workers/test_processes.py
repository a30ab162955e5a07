"""Worker processes and the commands that run and use them."""

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
from rivya_async.workers.queue_stats import read_queue_depth, trim_queue
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import connect_client, count_states, start_workers, wait_until

POLL = "GET /api/v1/generations/{task_id}"


def run_command(
    *arguments: str, redis: RedisServer, sandbox: Sandbox | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rivya_async", *arguments],
        env=environment(redis, sandbox),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(redis: RedisServer | None, sandbox: Sandbox | None) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RIVYA_")}
    if redis is not None:
        variables["RIVYA_BROKER"] = redis.url
    if sandbox is not None:
        variables |= {"RIVYA_API_KEY": sandbox.api_key, "RIVYA_BASE_URL": sandbox.base_url}
    return variables


async def test_sigterm_returns_open_waits_to_the_queue(redis: RedisServer) -> None:
    async with Sandbox(speed=500) as sandbox, connect_client(redis) as worker:
        sandbox.faults.add(route=POLL, status=503)  # no job ends
        keys = [f"kite-{number}" for number in range(20)]
        await asyncio.gather(*(worker.generate.kiq("z-image", "A kite", idempotency_key=key) for key in keys))
        with start_workers(redis, sandbox) as first:
            await wait_until(lambda: sandbox.request_log.purchases == 20)
            assert await asyncio.to_thread(first.terminate, 15.0) == 0
        assert await count_states(worker, keys) == {"submitted": 20}
        assert await worker.store.list_workers() == {}
        depth = await read_queue_depth(worker.broker)
        assert depth is not None
        assert depth.unacknowledged == 20
        sandbox.faults.clear()
        with start_workers(redis, sandbox) as second:

            async def all_succeeded() -> bool:
                return (await count_states(worker, keys))["succeeded"] == 20

            await wait_until(all_succeeded)
            assert await asyncio.to_thread(second.terminate) == 0
        assert sandbox.request_log.purchases == 20
        assert await trim_queue(worker.broker) == 20
        assert await read_queue_depth(worker.broker) == type(depth)(0, 0)


async def test_worker_command_runs_until_sigterm(redis: RedisServer, tmp_path: Path) -> None:
    async with Sandbox(speed=500) as sandbox, connect_client(redis) as worker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rivya_async", "worker", "--json", "--telemetry"),
            env=environment(redis, sandbox),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            task = await worker.generate.kiq("z-image", "A secret prompt", idempotency_key="kite-1")
            result = (await task.wait_result(timeout=30)).return_value
            assert result["state"] == "succeeded"
            health = await asyncio.to_thread(run_command, "worker", "--health", "--json", redis=redis)
            assert health.returncode == 0, health.stderr
            status = json.loads(health.stdout)
            assert status["dead_letters"] == 0
            assert [facts["draining"] for facts in status["workers"].values()] == [False]
        finally:
            process.send_signal(signal.SIGTERM)
            log = (await process.communicate())[1].decode()
        assert process.returncode == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    events = [line for line in lines if line.get("idempotency_key") == "kite-1"]
    assert [line["message"].split()[0] for line in events] == ["bought", "succeeded"]
    assert {line["task_id"] for line in events} == {result["task_id"]}
    for secret in ("A secret prompt", sandbox.api_key):
        assert secret not in log
    stopped = await asyncio.to_thread(run_command, "worker", "--health", redis=redis)
    assert stopped.returncode == 6
    assert "0 workers running" in stopped.stdout


async def test_batch_command_uses_workers(redis: RedisServer, tmp_path: Path) -> None:
    manifest = tmp_path / "kites.jsonl"
    manifest.write_text("".join(json.dumps({"model": "z-image", "prompt": f"Kite {n}"}) + "\n" for n in range(10)))
    async with Sandbox(speed=500) as sandbox:
        with start_workers(redis, sandbox):
            for download_on in ("here", "worker"):
                out, journal = tmp_path / download_on, tmp_path / f"{download_on}.journal"
                command = ["batch", "run", str(manifest), "--journal", str(journal), "-o", str(out), "--json"]
                process = await asyncio.to_thread(
                    run_command, *command, "--download-on", download_on, redis=redis, sandbox=sandbox
                )
                assert process.returncode == 0, process.stderr
                *rows, summary = map(json.loads, process.stdout.splitlines())
                assert len(rows) == 10
                assert summary["counts"]["downloaded"] == 10
                assert len(list(out.glob("*.png"))) == 10
    assert sandbox.request_log.purchases == 20


def test_worker_command_names_missing_settings(redis: RedisServer) -> None:
    no_broker = subprocess.run(
        [sys.executable, "-m", "rivya_async", "worker"],
        env=environment(None, None),
        capture_output=True,
        text=True,
        check=False,
    )
    assert no_broker.returncode == 2
    assert "--broker redis://HOST:PORT" in no_broker.stderr
    no_key = run_command("worker", redis=redis)
    assert no_key.returncode == 2
    assert "RIVYA_API_KEY" in no_key.stderr
    memory = run_command("worker", "--broker", "memory://", redis=redis)
    assert memory.returncode == 2
    assert "within one process" in memory.stderr


def test_health_command_reports_missing_redis(redis: RedisServer, tmp_path: Path) -> None:
    redis.stop()
    process = run_command("worker", "--health", redis=redis)
    assert process.returncode == 6
    assert "check that Redis runs" in process.stderr


def test_batch_command_rejects_embedded_sandbox_with_broker(redis: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "kites.jsonl").write_text('{"model": "z-image", "prompt": "A kite"}\n')
    process = run_command("batch", "run", str(tmp_path / "kites.jsonl"), "--sandbox", redis=redis)
    assert process.returncode == 2
    assert "rivya sandbox" in process.stderr


async def test_batch_command_with_in_memory_broker(tmp_path: Path) -> None:
    (tmp_path / "kites.jsonl").write_text('{"model": "z-image", "prompt": "A kite"}\n')
    async with Sandbox(speed=500) as sandbox:
        process = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "rivya_async", "batch", "run", "kites.jsonl", "--broker", "memory://"],
            cwd=tmp_path,
            env=environment(None, sandbox),
            capture_output=True,
            text=True,
        )
    assert process.returncode == 0, process.stderr
    assert "1 succeeded" in process.stdout
