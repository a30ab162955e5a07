"""Workers on a queue that delivers at least once, with a store in memory in place of Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from rivya_async import (
    GenerationRequest,
)
from rivya_async._engine.shutdown import ShutdownRequested, ShutdownSignal
from rivya_async._jobs.transitions import JobState
from rivya_async.workers.context import WorkerContext
from rivya_async.workers.job_message import JobMessage
from rivya_async.workers.job_runner import run_job
from rivya_async.workers.memory_store import MemoryStore
from rivya_async.workers.store import JobRecord

from .faults import Fault, FaultPlan
from .scenario import Scenario
from .service import MODELS
from .simulator import Process, SimulationFailure, Simulator, location


class SharedStore:
    """Redis in memory: a `MemoryStore` behind a network, which survives processes, may be away, and may lose all.

    It has the interface that the runner uses. The commands of `RedisStore` are tested against a real server elsewhere.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.content = MemoryStore()
        self.down_until = 0.0
        self.rng = random.Random(f"{simulator.seed}/store")


class StoreClient:
    """The store as one process sees it. Calls wait while the store is away; a repeated call may act twice."""

    record_ttl = 7 * 86_400.0

    def __init__(self, store: SharedStore, process: Process, shutdown: ShutdownSignal) -> None:
        self._store = store
        self._process = process
        self._shutdown = shutdown

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)

    async def _call(self, name: str, *args: Any, **changes: Any) -> Any:
        store, simulator = self._store, self._store.simulator
        future: asyncio.Future[Any] = self._process.loop.create_future()

        def arrive() -> None:
            if simulator.now < store.down_until:
                simulator.schedule(
                    store.down_until + store.rng.random(), lambda: arrive() if self._process.is_alive else None
                )
                return
            try:
                getattr(store.content, name)(*args, **changes).send(None)
            except StopIteration as end:
                simulator.record("store", name, args[:1])
                simulator.schedule(simulator.now + store.rng.expovariate(500.0), partial(respond, end.value))

        def respond(result: Any) -> None:
            if simulator.now < store.down_until and self._process.is_alive and not future.done():
                arrive()  # the client repeats a call without an answer
            elif not future.done() and self._process.is_alive:
                future.set_result(result)

        simulator.schedule(simulator.now + store.rng.expovariate(500.0), arrive)
        async with self._shutdown.scope(0.5):
            return await future


@attrs.define(eq=False)
class QueuedMessage:
    """A message of a queue that delivers at least once."""

    message: JobMessage
    enqueued_at: float
    due: float = 0.0
    owner: Process | None = None
    record: JobRecord | None = None


class WorkerScenario(Scenario):
    """Workers that share a queue and a store, on one account."""

    name = "workers"

    def __init__(self, simulator: Simulator, plan: FaultPlan) -> None:
        super().__init__(simulator, plan)
        rng = self.rng
        self.store = SharedStore(simulator)
        self.download_root = self.create_folder() if rng.random() < 0.3 else None
        self.process_count = rng.choice([1, 2, 3])
        self.max_jobs = rng.choice([1, 3, 20])
        self.queue = [
            QueuedMessage(
                JobMessage(
                    key=f"job-{n}",
                    request=GenerationRequest(
                        rng.choice(list(MODELS)), f"job {n}{' [fail]' if rng.random() < 0.1 else ''}"
                    ),
                    download_to=None if self.download_root is None else str(self.download_root),
                ),
                self.service.now(),
            )
            for n in range(rng.choice([2, 5, 10]))
        ]
        self.contexts: dict[Process, WorkerContext] = {}
        self.reclaim_after = rng.choice([5.0, 60.0])

    def start(self) -> None:
        for number in range(self.process_count):
            self.spawn(number)

    def spawn(self, number: int) -> None:
        process = self.create_process(number)
        process.start(self._run(process))

    def is_done(self) -> bool:
        return all(queued.record is not None for queued in self.queue) and not self.simulator.processes

    def _all_done(self) -> bool:
        return all(queued.record is not None for queued in self.queue)

    async def _run(self, process: Process) -> None:
        while not self._all_done():
            shutdown = ShutdownSignal()
            session, transport, _ = self.open_session(process)
            environment = process.environment()
            context = self.contexts[process] = WorkerContext(
                session=session,
                store=StoreClient(self.store, process, shutdown),
                shutdown=shutdown,
                wall=environment.wall_time,
                uniform=environment.uniform,
                download_root=self.download_root,
            )
            jobs: dict[asyncio.Task[Any], None] = self.cancellable[process]
            pause = 0.1
            async with session:
                while not shutdown.is_set and not self._all_done():
                    if len(jobs) < self.max_jobs and (queued := self._take(process)) is not None:
                        job = asyncio.create_task(self._process(context, queued))
                        jobs[job], pause = None, 0.1
                        job.add_done_callback(partial(self._on_job_end, jobs, queued))
                    else:
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, 8.0)
                shutdown.set()
                if jobs:
                    _, late = await asyncio.wait(list(jobs), timeout=60.0)
                    if late:
                        where = [location(task) for task in late]
                        self.simulator.fail("a worker drains", f"{where} 60 s after the shutdown")
            await asyncio.sleep(0)
            self.close_session(process, transport)
            await asyncio.sleep(self.rng.choice([0.0, 5.0]))
        self.simulator.schedule(
            self.simulator.now, lambda: self.simulator.end_process(process) if process.is_alive else None
        )

    def _take(self, process: Process) -> QueuedMessage | None:
        for queued in self.queue:
            if queued.record is None and queued.owner is None and queued.due <= self.simulator.now:
                queued.owner = process
                return queued
        return None

    def _on_job_end(self, jobs: dict[asyncio.Task[Any], None], queued: QueuedMessage, job: asyncio.Task[Any]) -> None:
        """Returns the message of a cancelled task to the queue, also if the task had not begun."""
        del jobs[job]
        if job.cancelled():
            queued.owner, queued.due = None, self.simulator.now + self.reclaim_after

    async def _process(self, context: WorkerContext, queued: QueuedMessage) -> None:
        delivery = partial(run_job, context, queued.message, queued.enqueued_at)
        try:
            record = await context.retry(delivery, "a message failed", queued.message.key)
        except ShutdownRequested:
            self.cover("message returned")
            queued.owner = None
        else:
            self.cover(f"message {record.state}")
            if record.state is JobState.DEAD:
                self.cover(f"message dead: {record.error_type}")
            if queued.record is None or queued.record.state is JobState.DEAD:
                queued.record = record

    def apply(self, fault: Fault, process: Process, value: float) -> bool:
        match fault.kind:
            case "close":
                context = self.contexts.get(process)
                if context is None:
                    return False
                with process.running():
                    context.shutdown.set()
            case "store outage":
                self.store.down_until = self.simulator.now + value**2 * 120.0
            case "store loss":
                self.store.content = MemoryStore()
            case "second delivery":
                taken = [queued for queued in self.queue if queued.owner is not None and queued.record is None]
                if not taken:
                    return False
                taken[int(value * len(taken))].owner = None
            case _:
                return super().apply(fault, process, value)
        return True

    def on_death(self, process: Process) -> None:
        self.contexts.pop(process, None)
        for queued in self.queue:
            if queued.owner is process and queued.record is None:
                queued.owner, queued.due = None, self.simulator.now + self.reclaim_after

    def check_end(self) -> None:
        by_key = {queued.message.key: queued.record for queued in self.queue}
        for task_id, purchase in self.service.purchases.items():
            record = by_key.get(purchase.key or "")
            if record is None:
                raise SimulationFailure("the caller knows every purchase", f"{task_id} under {purchase.key}")
            is_in_doubt = record.state is JobState.DEAD and record.error_type in {
                "JobInDoubtError",
                "PoisonMessageError",
            }
            if record.task_id != task_id and not is_in_doubt:
                raise SimulationFailure("the caller knows every purchase", f"{task_id}: {record}")
            expected = JobState.SUCCEEDED if purchase.task.failure is None else JobState.FAILED
            if record.task_id == task_id and record.state is not expected and record.state is not JobState.DEAD:
                raise SimulationFailure("a message ends with its job", f"{task_id}: {record}")
            for file in record.files:
                self.check_file(Path(file.path), task_id)
