"""What the tests of workers share: a Redis server, a sandbox, and worker processes that may die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs

from rivya_async.sandbox import Sandbox
from rivya_async.workers import JobRecord, RivyaWorker
from tests.workers.redis_server import RedisServer

CHILD = Path(__file__).with_name("worker_child.py")


@attrs.define
class Crew:
    """Worker processes under one parent, which starts them again when they die."""

    process: subprocess.Popen[bytes]

    @property
    def pids(self) -> list[int]:
        """The worker processes that live now."""
        try:
            told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in told.split()]

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def end(self, seconds: float = 40.0) -> int:
        """SIGTERM, as an operator would; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=seconds)


@contextmanager
def crew(redis: RedisServer, sandbox: Sandbox, processes: int = 1, **order: Any) -> Iterator[Crew]:
    told = {
        "redis": redis.url,
        "key": sandbox.api_key,
        "base_url": sandbox.base_url,
        "processes": processes,
        **order,
    }
    process = subprocess.Popen([sys.executable, str(CHILD), json.dumps(told)], start_new_session=True)
    try:
        yield Crew(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@asynccontextmanager
async def client(redis: RedisServer) -> AsyncIterator[RivyaWorker]:
    """Who enqueues: it has no API key, and no session."""
    worker = RivyaWorker.from_url(redis.url)
    await worker.broker.startup()
    try:
        yield worker
    finally:
        await worker.broker.shutdown()


async def until(happened: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for what other processes do; `happened` may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        found = happened()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def states(worker: RivyaWorker, keys: Sequence[str]) -> Counter[str]:
    records: list[JobRecord | None] = await worker.read_jobs(keys)
    return Counter("unknown" if record is None else record.state.value for record in records)
