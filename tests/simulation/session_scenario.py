"""Users of sessions: they submit, wait, cancel and close, and remember the keys and task ids of errors."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import attrs

from rivya_async import (
    APIStatusError,
    Generation,
    GenerationFailedError,
    GenerationRequest,
    IdempotencyConflictError,
    RivyaError,
    RivyaSession,
    SpendLimitError,
    WaitTimeoutError,
)
from rivya_async._core.spend import NOT_PURCHASED

from .faults import Fault, FaultPlan
from .invariants import SessionMonitor
from .scenario import Scenario
from .service import MODELS
from .simulator import Process, SimulationFailure, Simulator, location

KEY_PATTERN: Final = re.compile(r"idempotency_key='([^']+)'")
MAP_PATTERN: Final = re.compile(r"request (\d+): .*idempotency_key='([^']+)'")
ENDED_PATTERN: Final = re.compile(r"request (\d+): (task_[0-9a-f]{20}) is bought and has ended")
TASK_PATTERN: Final = re.compile(r"task_[0-9a-f]{20}")


@attrs.define(eq=False)
class Order:
    """A job that a user wants once, as a database of the user keeps it, with the known key and task id."""

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
    """Users of one or two sessions: they submit, wait, cancel, close, and repeat purchases of unknown outcome."""

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
        # A process whose shared order another one has ended never sees its end: its credits stay reserved.
        may_share = key is not None and self.process_count > 1 and self.max_reserved is None
        owner = None if may_share and rng.random() < 0.3 else rng.randrange(self.process_count)
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
            by_id: dict[str, Order] = {}
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
            notes = "\n".join(getattr(error, "__notes__", ()))
            for number, task_id in ENDED_PATTERN.findall(notes):
                new[int(number) - 1].task_id = task_id
            for number, key in MAP_PATTERN.findall(notes):
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

    # --- keys and task ids --------------------------------------------------------------------------------------------

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
