"""Helpers of the worker tests: a worker in the test's process, worker processes that may be killed, and a client."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
from taskiq import AsyncTaskiqTask, InMemoryBroker, TaskiqEvents

from rivya_async import PollPolicy, RetryPolicy
from rivya_async.sandbox import Sandbox
from rivya_async.workers import DrainingReceiver, JobRecord, RivyaWorker, create_broker, create_store
from tests.workers.redis_server import RedisServer

CHILD = Path(__file__).with_name("worker_child.py")
FAST_POLLS = PollPolicy(first=0.02, base=0.03, floor=0.02, cap=0.1, adaptive=False)
FAST_RETRIES = RetryPolicy(max_attempts=3, base=0.01, cap=0.02)
QUEUE_NUMBERS = itertools.count()

OpenWorker = Callable[..., AbstractAsyncContextManager[RivyaWorker]]


@asynccontextmanager
async def running_worker(
    redis: RedisServer | None, sandbox: Sandbox, *, max_jobs: int = 1000, **options: Any
) -> AsyncIterator[RivyaWorker]:
    """A worker in this process, on Redis or in memory. Workers of one `queue` share their jobs."""
    queue = options.pop("queue", None) or f"test-{next(QUEUE_NUMBERS)}"
    settings = {
        "api_key": sandbox.api_key,
        "base_url": sandbox.base_url,
        "poll": FAST_POLLS,
        "retry": FAST_RETRIES,
        "download_root": "/",
        **options,
    }
    if redis is None:
        worker = RivyaWorker(InMemoryBroker(), **settings)
        await worker.broker.startup()
        try:
            yield worker
        finally:
            await worker.broker.shutdown()
        return
    worker = RivyaWorker.from_url(redis.url, queue=queue, **settings)
    worker.broker.is_worker_process = True
    started, finish = asyncio.Event(), asyncio.Event()
    worker.broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, lambda _: started.set())
    receiver = DrainingReceiver(worker.broker, max_async_tasks=2, max_jobs=max_jobs, wait_tasks_timeout=10.0)
    listening = asyncio.create_task(receiver.listen(finish))
    try:
        async with asyncio.timeout(10):
            await started.wait()
        yield worker
    finally:
        finish.set()
        await listening
        await worker.broker.shutdown()


def create_redis_worker(redis: RedisServer, sandbox: Sandbox) -> RivyaWorker:
    """A worker whose broker is not started."""
    worker = RivyaWorker(
        create_broker(redis.url), store=create_store(redis.url), api_key=sandbox.api_key, base_url=sandbox.base_url
    )
    worker.broker.is_worker_process = True
    return worker


@attrs.define
class WorkerProcesses:
    """Worker processes under one parent, which restarts them when they die."""

    process: subprocess.Popen[bytes]

    @property
    def pids(self) -> list[int]:
        """The live worker processes."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in children.split()]

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def terminate(self, timeout: float = 40.0) -> int:
        """Sends SIGTERM and returns the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=timeout)


@contextmanager
def start_workers(
    redis: RedisServer, sandbox: Sandbox, processes: int = 1, **options: Any
) -> Iterator[WorkerProcesses]:
    settings = {
        "redis": redis.url,
        "key": sandbox.api_key,
        "base_url": sandbox.base_url,
        "processes": processes,
        **options,
    }
    process = subprocess.Popen([sys.executable, str(CHILD), json.dumps(settings)], start_new_session=True)
    try:
        yield WorkerProcesses(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@asynccontextmanager
async def connect_client(redis: RedisServer) -> AsyncIterator[RivyaWorker]:
    """A client that enqueues jobs, without an API key and a session."""
    worker = RivyaWorker.from_url(redis.url)
    await worker.broker.startup()
    try:
        yield worker
    finally:
        await worker.broker.shutdown()


async def wait_until(condition: Callable[[], Any], timeout: float = 60.0, interval: float = 0.05) -> None:
    """Waits for a condition that other tasks or processes fulfil; it may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if await result if asyncio.iscoroutine(result) else result:
            return
        assert time.monotonic() < deadline, "timeout"
        await asyncio.sleep(interval)


async def wait_for_result(task: AsyncTaskiqTask[Any]) -> dict[str, Any]:
    result = await task.wait_result(check_interval=0.01, timeout=20)
    assert not result.is_err, result.error
    value: dict[str, Any] = result.return_value
    return value


async def dead_letter_codes(worker: RivyaWorker) -> list[tuple[str, str | None]]:
    return [
        (letter.error_code or letter.error_type, letter.key) for letter in (await worker.store.list_dead_letters(10))[1]
    ]


async def count_states(worker: RivyaWorker, keys: Sequence[str]) -> Counter[str]:
    records: list[JobRecord | None] = await worker.read_jobs(keys)
    return Counter("unknown" if record is None else record.state.value for record in records)
