"""The programs under test: sessions, a batch and workers, each as a user writes it, with what the user remembers."""

from __future__ import annotations

import asyncio
import fcntl
import math
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import attrs

from rivya_async import (
    APIStatusError,
    Generation,
    GenerationFailedError,
    GenerationRequest,
    IdempotencyConflictError,
    PollPolicy,
    RateLimit,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    SpendLimitError,
    WaitTimeoutError,
)
from rivya_async._core.spend import NOT_PURCHASED
from rivya_async._engine.shutdown import ShutdownRequested, ShutdownSignal
from rivya_async._engine.transfers import partial_file
from rivya_async._jobs.transitions import ENDED, JobState
from rivya_async.batch import Batch, Row
from rivya_async.workers.context import WorkerContext
from rivya_async.workers.job_message import JobMessage
from rivya_async.workers.job_runner import run_job
from rivya_async.workers.memory_store import MemoryStore
from rivya_async.workers.record import JobRecord

from .faults import Fault, FaultPlan, draw_faults
from .invariants import Monitor, SessionMonitor
from .service import API_KEY, BASE_URL, MODELS, Network, Service, SimulatedTransport, Webhooks
from .simulator import START, Process, SimulationFailure, Simulator, location, simulation

MEMORY_FOLDER: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  each simulation has its folder
HORIZON: Final = 5 * 86_400.0
"""Virtual seconds after which everything must have ended: the longest pauses are of a day."""

MAX_CANCEL_SECONDS: Final = 5.0
"""Virtual seconds in which a cancelled call ends."""

DOWNTIMES: Final = (0.0, 0.5, 5.0, 60.0, 600.0)
KEY_PATTERN: Final = re.compile(r"idempotency_key='([^']+)'")
MAP_PATTERN: Final = re.compile(r"request (\d+): .*idempotency_key='([^']+)'")
TASK_PATTERN: Final = re.compile(r"task_[0-9a-f]{20}")


class Scenario:
    """The base: the world of a seed, its processes, and the faults at single callbacks."""

    name = ""

    def __init__(self, simulator: Simulator, plan: FaultPlan) -> None:
        self.simulator = simulator
        self.plan = plan
        self.rng = rng = random.Random(f"{simulator.seed}/scenario")
        self.speed = rng.choice([0.5, 1.0, 5.0, 50.0, 500.0])
        self.failure_rate = rng.choice([0.0, 0.0, 0.2])
        self.has_webhooks = rng.random() < 0.4
        self.timeout = rng.choice([5.0, 20.0, 60.0])
        self.poll = rng.choice(
            [
                PollPolicy(),
                PollPolicy(adaptive=False),
                PollPolicy(first=0.1, base=0.2, cap=2.0, floor=0.1, adaptive=False),
            ]
        )
        self.retry = rng.choice([RetryPolicy(), RetryPolicy(max_attempts=2), RetryPolicy(base=0.05, cap=2.0)])
        rate = rng.choice([None, None, 2.0, 20.0])
        self.rate_limit = None if rate is None else RateLimit(rate)
        self.jobs_limit = rng.choice([None, None, None, 2])
        self.link_lifetime = rng.choice([None, None, 30.0])
        self.monitor = Monitor(simulator)
        service_rate = rng.choice([None, None, None, 30, 120])
        self.service = self.monitor.service = Service(
            simulator,
            speed=self.speed,
            failure_rate=self.failure_rate,
            rate_limit=service_rate,
            rate_window=rng.choice([1.0, 10.0, 60.0]),
            jobs_limit=self.jobs_limit,
            link_lifetime=self.link_lifetime,
        )
        self.network = Network(simulator, self.service, plan, self.monitor)
        self.webhooks = Webhooks(self.network) if self.has_webhooks else None
        self.folder: Path | None = None
        self.has_died = False
        self.cancellable: dict[Process, dict[asyncio.Task[Any], None]] = {}
        self.files_of: dict[Process, list[Any]] = {}
        simulator.after_step = self.monitor.check_step
        for fault in plan.at_steps:
            simulator.at_step(fault.at, partial(self._meet, fault))

    # --- what a scenario implements -----------------------------------------------------------------------------------

    def start(self) -> None:
        raise NotImplementedError

    def spawn(self, number: int) -> None:
        """Starts the process with this number, again after its death."""
        raise NotImplementedError

    def is_done(self) -> bool:
        raise NotImplementedError

    def check_end(self) -> None:
        raise NotImplementedError

    # --- faults -------------------------------------------------------------------------------------------------------

    def _meet(self, fault: Fault) -> None:
        processes = [process for process in self.simulator.processes if process.is_alive]
        if not processes or self.is_done():
            return
        process = processes[int(fault.value * len(processes))]
        if self.apply(fault, process, fault.value * len(processes) % 1.0):
            self.network.note(fault)

    def apply(self, fault: Fault, process: Process, value: float) -> bool:
        """Applies a fault to a process; returns False where it does not fit."""
        now = self.simulator.now
        match fault.kind:
            case "cancel":
                return self._cancel(process, value)
            case "death":
                self._kill(process, value)
            case "pause":
                process.paused_until = now + value * 20.0
            case "clock of the service":
                self.service.clock_offset += (value - 0.5) * 1_200.0
            case "clock of a process":
                process.clock_skew += (value - 0.5) * 1_200.0
            case "outage":
                self.network.outage_until = now + value**3 * 600.0
            case _:
                return False
        return True

    def _cancel(self, process: Process, value: float) -> bool:
        tasks = [task for task in self.cancellable.get(process, ()) if not task.done()]
        if not tasks:
            return False
        task = tasks[int(value * len(tasks))]
        self.simulator.coverage[f"cancelled at {location(task)}"] += 1
        task.cancel()

        def check() -> None:
            if process.is_alive and process.paused_until <= self.simulator.now and not task.done():
                if process.paused_until > self.simulator.now - MAX_CANCEL_SECONDS:
                    self.simulator.schedule(self.simulator.now + MAX_CANCEL_SECONDS, check)
                else:
                    self.simulator.fail("a cancelled call ends", location(task))

        self.simulator.schedule(self.simulator.now + MAX_CANCEL_SECONDS, check)
        return True

    def _kill(self, process: Process, value: float) -> None:
        for task in process.loop.open_tasks():
            self.simulator.coverage[f"crashed at {location(task)}"] += 1
        self.has_died = True
        self.simulator.end_process(process)
        for file in self.files_of.pop(process, ()):
            if not file.closed:
                fcntl.flock(file, fcntl.LOCK_UN)
        for transport in list(self.monitor.sessions):
            if transport.process is process:
                del self.monitor.sessions[transport]
        if self.webhooks is not None:
            self.webhooks.receivers.pop(process, None)
        self.on_death(process)
        number = int(process.name.split("-")[1])
        downtime = self.draw_downtime(value)
        self.simulator.schedule(self.simulator.now + downtime, lambda: self.spawn(number))

    def draw_downtime(self, value: float) -> float:
        return DOWNTIMES[int(value * 100 % 1 * len(DOWNTIMES))]

    def on_death(self, process: Process) -> None:
        """Called after the death of a process."""

    # --- helpers ------------------------------------------------------------------------------------------------------

    def create_process(self, number: int) -> Process:
        process = self.simulator.create_process(f"process-{number}")
        self.cancellable[process] = {}
        self.files_of[process] = []
        return process

    def open_session(self, process: Process, **options: Any) -> tuple[RivyaSession, SimulatedTransport, SessionMonitor]:
        transport = SimulatedTransport(self.network, process, self.timeout)
        session = RivyaSession(
            API_KEY,
            base_url=BASE_URL,
            transport=transport,
            poll=self.poll,
            retry=self.retry,
            rate_limit=self.rate_limit,
            **options,
        )
        monitor = self.monitor.sessions[transport] = SessionMonitor(
            session,
            self.poll,
            self.retry,
            self.rate_limit,
            options.get("max_reserved"),
            has_webhooks=self.has_webhooks,
        )
        process.on_death.append(lambda: _detach(session))
        if self.webhooks is not None:
            session.generations.expect_deliveries()
            self.webhooks.receivers[process] = partial(self._settle, session, monitor)
        return session, transport, monitor

    def _settle(self, session: RivyaSession, monitor: SessionMonitor, generation: Generation) -> None:
        if not session._closed:
            session.generations.settle(generation)
            self.monitor.on_settled(monitor, generation)

    def close_session(self, process: Process, transport: SimulatedTransport) -> None:
        if self.webhooks is not None:
            self.webhooks.receivers.pop(process, None)
        self.monitor.check_closed(transport)

    def create_folder(self) -> Path:
        self.folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=MEMORY_FOLDER))
        return self.folder

    def check_file(self, path: Path, task_id: str) -> None:
        """Checks that a file is one version of the result, and not parts of two."""
        files = self.service.files
        versions = [files.content(task_id, version) for version in range(files.version[task_id] + 1)]
        if path.read_bytes() not in versions:
            raise SimulationFailure("a saved file is one version of the result", f"{task_id}: {len(versions)} versions")

    def record_files(self) -> Any:
        """Records the locked files of each process, whose locks end with it."""
        open_locked = partial_file._open_locked

        def record(path: Path) -> Any:
            file = open_locked(path)
            process = self.simulator.current
            if file is not None and process is not None and process in self.files_of:
                self.files_of[process].append(file)
            return file

        return mock.patch.object(partial_file, "_open_locked", record)

    def cover(self, state: str) -> None:
        self.simulator.coverage[f"state: {state}"] += 1


def _detach(session: RivyaSession) -> None:
    if session._engine is not None:
        session._finalizer.detach()


# --- sessions ---------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Order:
    """A job that a user wants once, and what the user knows about it, in a database that survives."""

    prompt: str
    model: str
    process: int | None
    style: str
    key: str | None
    timeout: float | None
    group: int
    task_id: str | None = None
    record: Generation | None = None
    is_lost: bool = False
    """True if a process died during a purchase under a key that only it knew."""
    is_purchasing: bool = False
    has_own_key: bool = False

    @property
    def is_done(self) -> bool:
        return self.record is not None or self.is_lost


class SessionScenario(Scenario):
    """Users of one or two sessions: they submit, wait, cancel, close, and repeat what an error asks them to repeat."""

    name = "session"

    def __init__(self, simulator: Simulator, plan: FaultPlan) -> None:
        super().__init__(simulator, plan)
        rng = self.rng
        self.process_count = rng.choice([1, 1, 2])
        count = rng.choice([1, 3, 6, 10])
        self.max_reserved = rng.choice([None, None, 8.0])
        self.orders = [self._draw_order(number) for number in range(count)]
        self.close_requests: dict[Process, asyncio.Event] = {}
        self.closers: dict[Process, asyncio.Task[Any]] = {}
        self.downloads = rng.random() < 0.35
        if self.downloads:
            self.create_folder()

    def _draw_order(self, number: int) -> Order:
        rng = self.rng
        key = f"order-{number}" if rng.random() < 0.5 else None
        owner = (
            None
            if key is not None and self.process_count > 1 and rng.random() < 0.3
            else rng.randrange(self.process_count)
        )
        style = rng.choice(["submit", "submit", "generate", "watch", "group", "map"])
        if style in {"group", "map"}:
            owner = owner or 0
        return Order(
            prompt=f"order {number}{' [fail]' if rng.random() < 0.1 else ''}",
            model=rng.choice(list(MODELS)),
            process=owner,
            style=style,
            key=key,
            timeout=rng.choice([None, None, 600.0, 30.0, 3.0, 0.5]),
            group=rng.randrange(2),
            has_own_key=key is not None,
        )

    def start(self) -> None:
        for number in range(self.process_count):
            self.spawn(number)

    def spawn(self, number: int) -> None:
        if self._open_orders(number):
            process = self.create_process(number)
            process.start(self._run(process, number))

    def is_done(self) -> bool:
        return all(order.is_done for order in self.orders) and not self.simulator.processes

    def _open_orders(self, number: int) -> list[Order]:
        return [order for order in self.orders if not order.is_done and order.process in {None, number}]

    # --- the program --------------------------------------------------------------------------------------------------

    async def _run(self, process: Process, number: int) -> None:
        while self._open_orders(number):
            caps = {} if self.max_reserved is None else {"max_reserved": self.max_reserved, "prices": MODELS}
            session, transport, monitor = self.open_session(process, **caps)
            await session.start()
            requested = self.close_requests[process] = asyncio.Event()
            callers = [
                asyncio.create_task(self._serve(process, session, monitor, orders))
                for orders in self._group(self._open_orders(number))
            ]
            closing = asyncio.create_task(requested.wait())
            await asyncio.wait([closing, asyncio.ensure_future(asyncio.wait(callers))], return_when="FIRST_COMPLETED")
            self.closers[process] = closer = asyncio.create_task(session.aclose())
            with suppress(asyncio.CancelledError):
                await asyncio.wait([closer])
            await asyncio.gather(*callers)
            closing.cancel()
            if not closer.cancelled():
                closer.result()
            await asyncio.sleep(0)
            self._read_open_jobs(session)
            self.close_session(process, transport)
            self._check_tasks(process, closing)
            self._check_known(at_close=True)
            await asyncio.sleep(self.rng.choice([0.0, 1.0, 30.0]))
        self.simulator.schedule(self.simulator.now, lambda: self._end(process))

    def _end(self, process: Process) -> None:
        if process.is_alive:
            self.simulator.end_process(process)

    def _check_tasks(self, process: Process, closing: asyncio.Task[Any]) -> None:
        found = [task for task in process.loop.open_tasks() if task not in {process.main, closing}]
        if found:
            self.simulator.fail("a closed session leaves nothing", f"tasks: {[location(task) for task in found]}")

    def _group(self, orders: Sequence[Order]) -> list[list[Order]]:
        groups: dict[object, list[Order]] = {}
        for order in orders:
            key: object = (order.style, order.group) if order.style in {"group", "map"} else order
            groups.setdefault(key, []).append(order)
        return list(groups.values())

    async def _serve(
        self, process: Process, session: RivyaSession, monitor: SessionMonitor, orders: Sequence[Order]
    ) -> None:
        """Works on orders until they are done, or until the session is closed."""
        drive = {"group": self._drive_group, "map": self._drive_map}.get(orders[0].style, self._drive_one)
        tasks, pause = self.cancellable[process], 0.5
        while left := [order for order in orders if not order.is_done]:
            work: Coroutine[Any, Any, None] = drive(session, monitor, left)
            task = asyncio.create_task(work)
            tasks[task] = None
            await asyncio.wait([task])
            del tasks[task]
            for order in left:
                order.is_purchasing = False
            if task.cancelled():
                self.cover("CancelledError")
            elif (error := task.exception()) is not None and not isinstance(error, RivyaError | ExceptionGroup):
                raise error
            if session._closed:
                return
            self._read_open_jobs(session)
            pause = min(2 * pause, 60.0)
            await asyncio.sleep(pause * (0.5 + self.rng.random()))

    async def _drive_one(self, session: RivyaSession, monitor: SessionMonitor, orders: Sequence[Order]) -> None:
        (order,) = orders
        with self._learning([order]):
            if order.style == "generate" and order.task_id is None:
                monitor.deadlines.append(asyncio.get_running_loop().time() + (order.timeout or math.inf))
                order.is_purchasing = True
                self._accept(
                    order,
                    await session.generate(
                        order.model,
                        order.prompt,
                        client_request_id=order.prompt,
                        idempotency_key=order.key,
                        timeout=order.timeout,
                    ),
                )
                return
            job = await self._submit(session, order)
            async with self._waiting(monitor, order):
                if order.style == "watch":
                    async for record in session.watch(job, timeout=order.timeout):
                        if record.is_terminal:
                            self._accept(order, record)
                else:
                    self._accept(order, await session.wait_for(job, timeout=order.timeout))
            await self._download(session, order)

    async def _drive_group(self, session: RivyaSession, monitor: SessionMonitor, orders: Sequence[Order]) -> None:
        with self._learning(orders):
            by_id = {}
            for order in orders:
                try:
                    job = await self._submit(session, order)
                except SpendLimitError:
                    order.is_purchasing = False
                    if not by_id:
                        raise
                    break  # until one of the others has ended
                by_id[job if isinstance(job, str) else job.id] = order
            monitor.deadlines.append(asyncio.get_running_loop().time() + (orders[0].timeout or math.inf))
            async for record in session.as_completed(list(by_id), timeout=orders[0].timeout):
                self._accept(by_id[record.id], record)

    async def _drive_map(self, session: RivyaSession, monitor: SessionMonitor, orders: Sequence[Order]) -> None:
        known = {order.task_id: order for order in orders if order.task_id is not None}
        async for record in session.as_completed([*known], timeout=None):
            self._accept(known[record.id], record)
        new = [order for order in orders if order.task_id is None]
        by_prompt = {order.prompt: order for order in new}
        for order in new:
            order.is_purchasing = True
        monitor.deadlines.append(asyncio.get_running_loop().time() + (orders[0].timeout or math.inf))
        requests = [
            GenerationRequest(order.model, order.prompt, client_request_id=order.prompt, idempotency_key=order.key)
            for order in new
        ]
        try:
            async for outcome in session.map(requests, max_in_flight=3, timeout=orders[0].timeout):
                order = by_prompt[outcome.request.prompt or ""]
                order.is_purchasing = False
                if outcome.generation is not None:
                    order.task_id = outcome.generation.id
                if outcome.error is not None:
                    self._learn(order, outcome.error)
                elif outcome.generation is not None:
                    self._accept(order, outcome.generation)
        except asyncio.CancelledError as error:
            for number, key in MAP_PATTERN.findall("\n".join(getattr(error, "__notes__", ()))):
                order = new[int(number) - 1]
                order.key = order.key or key
            raise

    async def _submit(self, session: RivyaSession, order: Order) -> Generation | str:
        if order.task_id is not None:
            return order.task_id
        order.is_purchasing = True
        job = await session.submit(order.model, order.prompt, client_request_id=order.prompt, idempotency_key=order.key)
        order.is_purchasing = False
        order.task_id = job.id
        return job

    @asynccontextmanager
    async def _waiting(self, monitor: SessionMonitor, order: Order) -> AsyncIterator[None]:
        """Checks that a wait ends at its deadline, and not before."""
        loop, process = asyncio.get_running_loop(), self.simulator.current
        assert order.task_id is not None
        assert process is not None
        started, pause = loop.time(), process.paused_until
        deadline = None if order.timeout is None else started + order.timeout
        self.monitor.begin_wait(monitor, order.task_id, deadline)
        try:
            yield
        except WaitTimeoutError:
            if deadline is None or loop.time() < deadline - 1e-3:
                self.simulator.fail("no wait ends before its deadline", f"{loop.time() - started} of {order.timeout}")
            raise
        finally:
            self.monitor.end_wait(monitor, order.task_id)
            if deadline is not None and loop.time() > deadline + 3.0 and process.paused_until == pause:
                self.simulator.fail("every wait ends at its deadline", f"{loop.time() - started} of {order.timeout}")

    async def _download(self, session: RivyaSession, order: Order) -> None:
        if not self.downloads or order.record is None or not order.record.succeeded or self.folder is None:
            return
        with suppress(RivyaError):
            for path in await session.download(order.record, f"{self.folder}/", exists="keep"):
                self.check_file(path, order.record.id)
                self.cover("downloaded")

    # --- what the user learns -----------------------------------------------------------------------------------------

    @contextmanager
    def _learning(self, orders: Sequence[Order]) -> Iterator[None]:
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:
            for order in orders:
                if len(orders) == 1 or order.is_purchasing:
                    self._learn(order, error)
            raise

    def _learn(self, order: Order, error: BaseException) -> None:
        """Remembers the task id that an error names, and its key, unless the error proves that nothing was bought."""
        self.cover(type(error).__name__)
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                self._learn(order, each)
            return
        notes = " ".join(getattr(error, "__notes__", ()))
        if isinstance(error, RivyaError):
            last = getattr(error, "last", None)
            found = error.task_id or (None if last is None else last.id)
            if found is not None and order.task_id is None:
                order.task_id = found
            if isinstance(error, GenerationFailedError):
                self._accept(order, error.generation)
            if order.key is None and not self._bought_nothing(error, notes):
                order.key = error.idempotency_key
            return
        if order.task_id is None and (task := TASK_PATTERN.search(notes)):
            order.task_id = task[0]
        if order.key is None and (key := KEY_PATTERN.search(notes)):
            order.key = key[1]

    def _bought_nothing(self, error: RivyaError, notes: str) -> bool:
        """Returns True where the documentation says that nothing was bought, so that a user takes another key."""
        if isinstance(error, IdempotencyConflictError):  # the first request under the key may still run
            return False
        if isinstance(error, NOT_PURCHASED):
            return True
        is_refusal = isinstance(error, APIStatusError) and error.status is not None and 400 <= error.status < 500
        return is_refusal and error.attempts <= 1 and "may have been processed" not in notes

    def _accept(self, order: Order, record: Generation) -> None:
        """Takes a terminal record, which must be that of the order's job."""
        purchase = self.service.purchases.get(record.id)
        if purchase is None or purchase.task.prompt != order.prompt:
            self.simulator.fail("a wait returns the record of its job", f"{record.id} for {order.prompt}")
            return
        expected = "succeeded" if purchase.task.failure is None else "failed"
        if record.status != expected:
            self.simulator.fail("a wait returns the end of its job", f"{record.status}, not {expected}")
        order.task_id, order.record, order.is_purchasing = record.id, record, False
        self.cover(f"{order.style} {record.status}")

    def _read_open_jobs(self, session: RivyaSession) -> None:
        by_prompt = {order.prompt: order for order in self.orders}
        for job in session.open_jobs:
            order = by_prompt[job.client_request_id or ""]
            order.task_id = order.task_id or job.task_id

    # --- faults and checks --------------------------------------------------------------------------------------------

    def apply(self, fault: Fault, process: Process, value: float) -> bool:
        if fault.kind == "close":
            requested = self.close_requests.get(process)
            if requested is None or requested.is_set():
                return False
            requested.set()
            return True
        if fault.kind == "cancel the close":
            closer = self.closers.get(process)
            return closer is not None and closer.cancel()
        return super().apply(fault, process, value)

    def on_death(self, process: Process) -> None:
        number = int(process.name.split("-")[1])
        for order in self.orders:
            if order.process == number and order.is_purchasing and not order.has_own_key and order.task_id is None:
                order.is_lost = True
                self.cover("lost with its process")

    def _check_known(self, *, at_close: bool = False) -> None:
        """Checks that the user knows every purchase, by its task id or by its key."""
        by_prompt = {order.prompt: order for order in self.orders}
        for task_id, purchase in self.service.purchases.items():
            order = by_prompt[purchase.task.prompt]
            if at_close and order.is_purchasing:  # in another process
                continue
            if not order.is_lost and task_id != order.task_id and purchase.key != order.key:
                self.simulator.fail(
                    "the caller knows every purchase", f"{task_id} of {order.prompt!r} under {purchase.key}: {order}"
                )

    def check_end(self) -> None:
        self._check_known()
        for order in self.orders:
            if not order.is_lost and order.task_id not in self.service.purchases:
                raise SimulationFailure("the caller knows every purchase", f"{order}")


# --- batches ----------------------------------------------------------------------------------------------------------


class BatchScenario(Scenario):
    """A batch over its SQLite journal, run again until all rows have ended."""

    name = "batch"

    def __init__(self, simulator: Simulator, plan: FaultPlan) -> None:
        super().__init__(simulator, plan)
        rng = self.rng
        folder = self.create_folder()
        self.journal = folder / "kites.journal"
        self.rows = [
            Row(number=n, line=n, model=rng.choice(list(MODELS)), prompt=f"row {n}{' [fail]' * (rng.random() < 0.1)}")
            for n in range(1, rng.choice([2, 4, 8, 14]))
        ]
        self.download_to = folder / "out" if rng.random() < 0.5 else None
        self.max_in_flight = rng.choice([1, 3, 100])
        self.retry_failed = rng.choice([0, 0, 1])
        self.may_be_away_long = rng.random() < 0.4
        self.batch: Batch | None = None
        self.is_finished = False
        self.records: list[Any] = []
        self.monitor.max_purchases = lambda _: 1 + self.retry_failed

    def start(self) -> None:
        self.spawn(0)

    def spawn(self, number: int) -> None:
        process = self.create_process(number)
        process.start(self._run(process))

    def draw_downtime(self, value: float) -> float:
        return 30 * 3600.0 if self.may_be_away_long and value < 0.5 else super().draw_downtime(value)

    def is_done(self) -> bool:
        return self.is_finished and not self.simulator.processes

    async def _run(self, process: Process) -> None:
        while not self.is_finished:
            work = asyncio.create_task(self._run_batch(process))
            self.cancellable[process][work] = None
            await asyncio.wait([work])
            if not work.cancelled():
                work.result()
            await asyncio.sleep(self.rng.choice([1.0, 30.0]))
        self.simulator.schedule(self.simulator.now, lambda: self.simulator.end_process(process))

    async def _run_batch(self, process: Process) -> None:
        batch = self.batch = Batch.open(self.journal, id="kites")
        process.on_death.append(lambda: _close_files(batch))
        session, transport, _ = self.open_session(process, hooks=batch.hooks)
        try:
            async with batch, session:
                await batch.add(self.rows)
                run = batch.run(
                    session,
                    download_to=self.download_to,
                    max_in_flight=self.max_in_flight,
                    retry_failed=self.retry_failed,
                )
                async for record in run:
                    self.cover(f"row {record.state}")
                self.records = [record async for record in batch.records()]
                self._check_journal(batch)
        finally:
            self.batch = None
            if process.is_alive:
                self.close_session(process, transport)
                self._check_tasks(process)

    def _check_tasks(self, process: Process) -> None:
        current = asyncio.current_task()
        found = [task for task in process.loop.open_tasks() if task not in {process.main, current}]
        if found:
            self.simulator.fail("a closed batch leaves nothing", f"tasks: {[location(task) for task in found]}")

    def _check_journal(self, batch: Batch) -> None:
        total = sum(record.credits for record in self.records)
        if batch.credits != total:
            self.simulator.fail(
                "credits held equal credits open", f"{batch.credits} in the journal, {total} in its rows"
            )
        ended = ENDED - ({JobState.SUCCEEDED} if self.download_to is not None else set())
        self.is_finished = all(record.state in ended for record in self.records)

    def apply(self, fault: Fault, process: Process, value: float) -> bool:
        if fault.kind == "close":
            if self.batch is None or self.batch._run is None:
                return False
            with process.running():
                self.batch.stop()
            return True
        return super().apply(fault, process, value)

    def check_end(self) -> None:
        by_prompt = {record.row.prompt: record for record in self.records}
        for task_id, purchase in self.service.purchases.items():
            record = by_prompt[purchase.task.prompt]
            is_earlier = record.purchase > 1 and purchase.task.failure is not None
            is_in_doubt = record.state is JobState.DEAD and record.error_type == "JobInDoubtError"
            if record.task_id != task_id and not is_earlier and not is_in_doubt:
                raise SimulationFailure(
                    "the caller knows every purchase", f"{task_id} of {purchase.task.prompt}: {record}"
                )
            if record.state is JobState.DEAD:
                self.cover(f"row dead: {record.error_type}")
        if all(record.state is not JobState.DEAD for record in self.records):
            spent = sum(
                purchase.task.reserved_credits
                for purchase in self.service.purchases.values()
                if purchase.task.failure is None
            )
            if spent != sum(record.credits for record in self.records):
                raise SimulationFailure("credits held equal credits open", f"{spent} spent, not what the journal says")
        for record in self.records:
            for file in record.files:
                self.check_file(self.journal.parent / file.path, record.task_id or "")


def _close_files(batch: Batch) -> None:
    """Closes the connections of a killed process, without a commit."""
    batch._journal._lock.close()
    connection = batch._journal._writer._connection
    if connection is not None:
        connection.close()


# --- workers ----------------------------------------------------------------------------------------------------------


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
                simulator.schedule(store.down_until + store.rng.random(), lambda: self._process.is_alive and arrive())
                return
            try:
                getattr(store.content, name)(*args, **changes).send(None)
            except StopIteration as end:
                simulator.record("store", name, args[:1])
                simulator.schedule(simulator.now + store.rng.expovariate(500.0), partial(respond, end.value))

        def respond(result: Any) -> None:
            if simulator.now < store.down_until and self._process.is_alive and not future.done():
                arrive()  # the client repeats what was not answered
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
                store=StoreClient(self.store, process, shutdown),  # type: ignore[arg-type]  # by `__getattr__`
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
                        job.add_done_callback(jobs.pop)
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
        self.simulator.schedule(self.simulator.now, lambda: process.is_alive and self.simulator.end_process(process))

    def _take(self, process: Process) -> QueuedMessage | None:
        for queued in self.queue:
            if queued.record is None and queued.owner is None and queued.due <= self.simulator.now:
                queued.owner = process
                return queued
        return None

    async def _process(self, context: WorkerContext, queued: QueuedMessage) -> None:
        delivery = partial(run_job, context, queued.message, queued.enqueued_at)
        try:
            record = await context.retry(delivery, "a message failed", queued.message.key)
        except ShutdownRequested:
            self.cover("message returned")
            queued.owner = None
        except asyncio.CancelledError:
            queued.owner, queued.due = None, self.simulator.now + self.reclaim_after
            raise
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


SCENARIOS: Final[Sequence[type[Scenario]]] = (SessionScenario, SessionScenario, BatchScenario, WorkerScenario)


# --- one seed ---------------------------------------------------------------------------------------------------------


@attrs.define
class Outcome:
    """The result of one seed: its failure, if any, and what it has met."""

    seed: int
    scenario: str
    failure: SimulationFailure | None
    trace: int
    steps: int
    events: int
    seconds: float
    """Virtual seconds."""
    applied: Sequence[Fault]
    coverage: Counter[str]
    log: Sequence[str]


def run_seed(seed: int, faults: Sequence[Fault] | None = None, *, verbose: bool = False) -> Outcome:
    """Simulates one seed, with its own faults or with these."""
    plan = FaultPlan(draw_faults(seed) if faults is None else faults)
    kind = SCENARIOS[random.Random(f"{seed}/kind").randrange(len(SCENARIOS))]
    failure, scenario = None, None
    with simulation(seed) as simulator:
        simulator.log = [] if verbose else None
        try:
            scenario = kind(simulator, plan)
            with scenario.record_files():
                scenario.start()
                simulator.run(scenario.is_done, START + HORIZON)
                scenario.check_end()
                if simulator.failure is not None:
                    raise simulator.failure
        except SimulationFailure as error:
            failure = error
        finally:
            simulator.after_step = lambda: None
    if scenario is not None and scenario.folder is not None:
        shutil.rmtree(scenario.folder)
    return Outcome(
        seed=seed,
        scenario=kind.name,
        failure=failure,
        trace=simulator.trace,
        steps=simulator.steps,
        events=simulator.event_count,
        seconds=simulator.now - START,
        applied=plan.applied,
        coverage=simulator.coverage,
        log=simulator.log or (),
    )
