"""One virtual clock, the events of the world, and the processes that live in it.

A process has an event loop of its own, of which the simulator runs one callback at a time. So a process can be
cancelled, paused or killed between any two callbacks, that is at any await, while requests that it has sent still
arrive. The seed decides which process runs next, and how long everything takes. The virtual-time loop of
`rivya_async.testing` is reused, without its own clock.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import random
import sys
import zlib
from asyncio import events
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar, TypeVarTuple
from unittest import mock

from rivya_async._engine.environment import Environment
from rivya_async.testing.virtual_time import EPOCH, START, VirtualTimeLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_STEPS_PER_INSTANT: Final = 4_000
"""Callbacks of one process at one instant from which on its loop is said to spin."""

MAX_STEPS: Final = 400_000
"""Callbacks of one simulation."""

ENVIRONMENT_USERS: Final = ("rivya_async.session.Environment", "rivya_async.batch.batch.Environment")
"""Names under which the product creates its sources of wall time, randomness and keys."""


class SimulationFailure(AssertionError):
    """An invariant that does not hold. `invariant` is its name."""

    def __init__(self, invariant: str, problem: str) -> None:
        super().__init__(f"{invariant}: {problem}")
        self.invariant = invariant


class ProcessLoop(VirtualTimeLoop):
    """The event loop of one process: its clock is that of the simulator, and its threads are events of the world."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process
        self._simulator = process.simulator
        self._executor_free: dict[Executor, float] = {}
        self.created_tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._create_task)  # type: ignore[arg-type]  # a generic method
        self.set_exception_handler(self._on_error)
        self.closing = False

    def time(self) -> float:
        return self._simulator.now

    def next_timer(self) -> float:
        """Returns the time at which the next timer is due."""
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        return scheduled[0]._when if scheduled else float("inf")

    def run_callback(self) -> None:
        """Runs the next callback. asyncio runs all ready callbacks before it checks the timers."""
        while self._scheduled and self.next_timer() <= self._simulator.now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)
        callback = self._ready.popleft()
        if not callback._cancelled:
            callback._run()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Calls the function after a while, in one piece: the threads of an executor take their calls in order."""
        future: asyncio.Future[T] = self.create_future()
        due = self._simulator.now + self._simulator.draw_io_time()
        if executor is not None:  # those of this package have one thread
            due = self._executor_free[executor] = max(due, self._executor_free.get(executor, 0.0))
        self._simulator.schedule(due, lambda: self._run_in_thread(future, func, *args))
        return future

    def _run_in_thread(self, future: asyncio.Future[T], func: Callable[[*Ts], T], *args: *Ts) -> None:
        if not self._process.is_alive:
            return
        self._simulator.current = self._process
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - as an executor does
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)

    def _create_task(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any) -> Any:
        task: asyncio.Task[T] = asyncio.Task(coro, loop=loop, **options)
        self.created_tasks.append(task)
        if len(self.created_tasks) > 200:
            self.created_tasks = [each for each in self.created_tasks if not each.done()]
        return task

    def open_tasks(self) -> list[asyncio.Task[Any]]:
        return [task for task in self.created_tasks if not task.done()]

    def _on_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.closing:
            self._simulator.fail("no error of a callback", f"{context['message']}: {context.get('exception')!r}")


class Process:
    """One process: an event loop, a wall clock, a source of random numbers, and the resources that its death frees."""

    def __init__(self, simulator: Simulator, name: str) -> None:
        self.simulator = simulator
        self.name = name
        self.is_alive = True
        self.paused_until = 0.0
        self.clock_skew = 0.0
        self.loop = ProcessLoop(self)
        self.on_death: list[Callable[[], None]] = []
        self._rng = random.Random(f"{simulator.seed}/{name}")
        self._keys = itertools.count(1)
        self._steps_at_instant = 0
        self._instant = 0.0
        self.main: asyncio.Task[Any] | None = None

    def environment(self) -> Environment:
        return Environment(
            wall_time=lambda: EPOCH + self.simulator.now + self.clock_skew,
            uniform=self._rng.random,
            new_idempotency_key=lambda: f"{self.name}-key-{next(self._keys)}",
        )

    def start(self, main: Coroutine[Any, Any, Any]) -> None:
        with self.running():
            self.main = self.loop.create_task(main)
        self.main.add_done_callback(self._on_main_done)

    def _on_main_done(self, main: asyncio.Task[Any]) -> None:
        if not main.cancelled() and (error := main.exception()) is not None and not self.loop.closing:
            self.simulator.fail("no error of a callback", f"{self.name} ends with {error!r}")

    def is_ready(self) -> bool:
        return (
            self.is_alive
            and self.paused_until <= self.simulator.now
            and (bool(self.loop._ready) or self.loop.next_timer() <= self.simulator.now)
        )

    def next_event(self) -> float:
        """Returns the time from which on this process has work."""
        if not self.is_alive:
            return float("inf")
        due = self.simulator.now if self.loop._ready else self.loop.next_timer()
        return max(due, self.paused_until)

    def step(self) -> None:
        """Runs one callback. Raises `SimulationFailure` if the loop spins."""
        if self._instant != self.simulator.now:
            self._instant, self._steps_at_instant = self.simulator.now, 0
        self._steps_at_instant += 1
        if self._steps_at_instant > MAX_STEPS_PER_INSTANT:
            handle = self.loop._ready[0] if self.loop._ready else None
            raise SimulationFailure("the loop never spins", f"{self.name} runs {handle!r:.300}")
        events._set_running_loop(self.loop)
        self.simulator.current = self
        try:
            self.loop.run_callback()
        finally:
            events._set_running_loop(None)

    @contextmanager
    def running(self) -> Iterator[None]:
        events._set_running_loop(self.loop)
        self.simulator.current = self
        try:
            yield
        finally:
            events._set_running_loop(None)

    def end(self) -> None:
        """Ends this process, whose main task has returned or which is killed: its tasks never run again."""
        self.is_alive = False
        for release in self.on_death:
            release()
        self.on_death.clear()

    def discard(self) -> None:
        """Frees the memory of a process that has ended. Only now do the `finally` blocks of its tasks run."""
        self.loop.closing = True
        for task in self.loop.open_tasks():
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is destroyed on purpose
            with suppress(BaseException):
                task.get_coro().close()
        self.loop._ready.clear()
        self.loop._scheduled.clear()
        self.loop.created_tasks.clear()
        self.loop.close()


class Simulator:
    """The world of one seed. `now` is the virtual time; `trace` is a checksum of everything that has happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = START
        self.steps = 0
        self.event_count = 0
        self.trace = 0
        self.log: list[str] | None = None
        self.coverage: Counter[str] = Counter()
        self.processes: list[Process] = []
        self.ended: list[Process] = []
        self.current: Process | None = None
        self.failure: SimulationFailure | None = None
        self.after_step: Callable[[], None] = lambda: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._step_actions: list[tuple[int, int, Callable[[], None]]] = []
        self._rng = random.Random(f"{seed}/world")
        self._io_rng = random.Random(f"{seed}/io")
        self._process_numbers = itertools.count(1)

    def record(self, *facts: object) -> None:
        """Adds a fact to the trace."""
        line = f"{self.now:.6f} {self.steps} {' '.join(map(str, facts))}"
        self.trace = zlib.crc32(line.encode(), self.trace)
        if self.log is not None:
            self.log.append(line)

    def fail(self, invariant: str, problem: str) -> None:
        """Ends the simulation with this failure, from a place where an exception would be swallowed."""
        self.failure = self.failure or SimulationFailure(invariant, problem)

    def schedule(self, due: float, callback: Callable[[], None]) -> None:
        """Calls a function at a time, outside of all processes."""
        heapq.heappush(self._events, (max(due, self.now), next(self._numbers), callback))

    def at_step(self, step: int, callback: Callable[[], None]) -> None:
        """Calls a function before the callback with this number."""
        heapq.heappush(self._step_actions, (step, next(self._numbers), callback))

    def draw_io_time(self) -> float:
        """Returns the seconds of a file operation."""
        return self._io_rng.expovariate(2_000.0) if self._io_rng.random() < 0.95 else self._io_rng.uniform(0.0, 0.3)

    def create_process(self, name: str) -> Process:
        process = Process(self, f"{name}-{next(self._process_numbers)}")
        self.processes.append(process)
        return process

    def end_process(self, process: Process) -> None:
        process.end()
        self.processes.remove(process)
        self.ended.append(process)

    def run(self, is_done: Callable[[], bool], until: float) -> None:
        """Runs until the scenario is done. Raises `SimulationFailure`, also if it is not done at `until`."""
        while True:
            self._take_step()
            if self.failure is not None:
                raise self.failure
            if is_done():
                return
            if self.now > until or self.steps > MAX_STEPS:
                raise SimulationFailure("every wait ends", f"{self.describe_open_tasks()} after {self.steps} steps")

    def _take_step(self) -> None:
        ready = [process for process in self.processes if process.is_ready()]
        if not ready:
            self._advance()
            return
        self.steps += 1
        process = ready[0] if len(ready) == 1 else self._rng.choice(ready)
        while self._step_actions and self._step_actions[0][0] <= self.steps:
            heapq.heappop(self._step_actions)[2]()
        if process.is_ready():
            process.step()
            self.after_step()

    def _advance(self) -> None:
        """Advances the clock to the next event of the world, or to the next timer of a process."""
        timer = min((process.next_event() for process in self.processes), default=float("inf"))
        due = self._events[0][0] if self._events else float("inf")
        if due == timer == float("inf"):
            raise SimulationFailure("every wait ends", f"nothing will happen any more: {self.describe_open_tasks()}")
        self.now = max(self.now, min(due, timer))
        if due <= timer:
            self.event_count += 1
            heapq.heappop(self._events)[2]()
            self.after_step()  # a purchase, for example

    def describe_open_tasks(self) -> str:
        return "; ".join(
            f"{process.name}: {task.get_name()} at {location(task)}"
            for process in self.processes
            for task in process.loop.open_tasks()
        )

    def discard(self) -> None:
        """Frees all processes without noise."""
        with mock.patch.object(sys, "unraisablehook"):
            for process in [*self.processes, *self.ended]:
                process.end()
                process.discard()
            self._events.clear()


def location(task: asyncio.Task[Any]) -> str:
    """Returns the innermost line of the product at which a task waits, or else of the simulated program."""
    awaitable: Any = task.get_coro()
    found = {"rivya_async/": "", "tests/": "its begin"}
    while awaitable is not None:
        frame = None
        for prefix, link in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            if (frame := getattr(awaitable, f"{prefix}_frame", None)) is not None:
                for folder in found:
                    name = frame.f_code.co_filename.rpartition(f"/{folder}")[2]
                    if name != frame.f_code.co_filename:
                        found[folder] = f"{name}:{frame.f_lineno}"
                awaitable = getattr(awaitable, f"{prefix}_{link}")
                break
        if frame is None:
            break
    return found["rivya_async/"] or found["tests/"]


_active: list[Simulator] = []


def current_environment() -> Environment:
    """Returns the environment of the process that runs."""
    process = _active[-1].current
    assert process is not None
    return process.environment()


@contextmanager
def simulation(seed: int) -> Iterator[Simulator]:
    """Yields a simulator whose processes have its clocks, random numbers and keys."""
    simulator = Simulator(seed)
    _active.append(simulator)
    was_enabled = gc.isenabled()
    gc.disable()  # a collection at another point would end a forgotten generator at another point
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=_finalize_generator)
    patches: Sequence[Any] = [mock.patch(name, current_environment) for name in ENVIRONMENT_USERS]
    try:
        for patch in patches:
            patch.start()
        yield simulator
    finally:
        for patch in patches:
            patch.stop()
        simulator.discard()
        sys.set_asyncgen_hooks(*hooks)
        _active.pop()
        if was_enabled:
            gc.enable()


def _finalize_generator(generator: Any) -> None:
    loop = events._get_running_loop()
    if isinstance(loop, ProcessLoop):
        loop.create_task(generator.aclose())
