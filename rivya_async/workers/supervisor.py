"""The parent process of `rivya worker`: starts worker processes, restarts those that die, stops them at SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import time
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

import attrs

from .brokers import create_broker, create_store
from .context import LOG, wait_at_most
from .taskiq_receiver import MAX_JOBS, DrainingReceiver
from .worker import RivyaWorker

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from .._core.policies import RateLimit

STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
RESTART_SIGNALS: Final = frozenset({signal.SIGHUP}) if hasattr(signal, "SIGHUP") else frozenset()

DRAIN_TIMEOUT: Final = 10.0
"""Maximum seconds after SIGTERM for jobs to return to the queue."""

SHUTDOWN_TIMEOUT: Final = 30.0
"""Maximum seconds after the drain for the rest of the shutdown, with the responses to requests in flight."""

MAX_TASKS: Final = 100
"""Maximum tasks of users that one process runs at a time; jobs have slots of their own."""

MIN_LIFETIME: Final = 30.0
"""Seconds for which a process must live so that another one is started at once when it dies."""

MAX_RESTART_DELAY: Final = 30.0
"""Maximum seconds before a process that died early is started again."""


@attrs.frozen(kw_only=True)
class WorkerSupervisor:
    """Worker processes with the same settings.

    `session_options` are those of `RivyaSession`, `broker_options` those of `create_broker`. `on_process_start` is
    called in each process, the parent included; `on_worker_created` in each worker process with its worker.
    """

    url: str = attrs.field(repr=False)
    queue: str = "rivya"
    processes: int = 1
    rate_limit: RateLimit | None = None
    max_jobs: int = MAX_JOBS
    download_root: Path | None = None
    session_options: dict[str, Any] = attrs.field(factory=dict, repr=False)
    broker_options: dict[str, Any] = attrs.field(factory=dict)
    on_process_start: Callable[[], None] | None = None
    on_worker_created: Callable[[RivyaWorker], None] | None = None

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT and returns the exit code. Blocks; call it in the main thread.

        At SIGHUP the processes are replaced, unless it is ignored, as under nohup.
        """
        self._prepare_process()
        reader, writer = socket.socketpair()
        writer.setblocking(False)  # noqa: FBT003 - the signature of socket
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for signum in STOP_SIGNALS | RESTART_SIGNALS:
            if signum in STOP_SIGNALS or signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, lambda *_: None)  # the wakeup descriptor has its number
        slots = [_ProcessSlot(self) for _ in range(self.processes)]
        is_stopping = False
        while not (is_stopping and all(slot.process is None for slot in slots)):
            timeout = min(slot.update(is_stopping=is_stopping) for slot in slots)
            ready = wait([reader, *(slot.process.sentinel for slot in slots if slot.process is not None)], timeout)
            received = set(reader.recv(1024)) if reader in ready else set()
            is_stopping = is_stopping or bool(received & STOP_SIGNALS)
            if received & RESTART_SIGNALS:
                for slot in slots:
                    slot.terminate()
        return 0

    def _prepare_process(self) -> None:
        logging.getLogger("taskiq").setLevel(logging.ERROR)
        if self.on_process_start is not None:
            self.on_process_start()


@attrs.define
class _ProcessSlot:
    """One worker process, and the time at which the next one may be started."""

    supervisor: WorkerSupervisor
    process: BaseProcess | None = None
    _started_at: float = 0.0
    _next_start: float = 0.0
    _delay: float = 1.0

    def update(self, *, is_stopping: bool) -> float:
        """Starts, restarts or ends the process; returns the seconds after which this is called again at the latest."""
        now = time.monotonic()
        if self.process is not None and not self.process.is_alive():
            self._on_death(now, is_stopping=is_stopping)
        if is_stopping:
            self.terminate()
            return 1.0  # a process that has just been started may have missed the signal
        if self.process is None and now >= self._next_start:
            self.process = multiprocessing.Process(target=run_worker_process, args=(self.supervisor,))
            self.process.start()
            self._started_at = now
        return 60.0 if self.process is not None else max(0.0, self._next_start - now)

    def terminate(self) -> None:
        """Asks the process to drain."""
        if self.process is not None:
            with suppress(OSError):
                self.process.terminate()

    def _on_death(self, now: float, *, is_stopping: bool) -> None:
        exit_code, self.process = self.process and self.process.exitcode, None
        if not exit_code or is_stopping:
            return
        self._delay = 1.0 if now - self._started_at > MIN_LIFETIME else min(2 * self._delay, MAX_RESTART_DELAY)
        self._next_start = now + self._delay
        LOG.error("a worker process ended with exit code %s: another one starts in %.0f s", exit_code, self._delay)


def run_worker_process(supervisor: WorkerSupervisor) -> None:
    """Runs one worker process with its own broker and session."""
    signal.set_wakeup_fd(-1)
    supervisor._prepare_process()  # noqa: SLF001 - the other half of the class, in the other process
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        from uvloop import new_event_loop

        loop_factory = new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            runner.run(_serve(supervisor))
        except Exception:  # noqa: BLE001 - the parent starts another process
            LOG.critical("the worker %s failed", os.getpid(), exc_info=True)
            raise SystemExit(1) from None
    LOG.info("worker %s has stopped", os.getpid())


async def _serve(supervisor: WorkerSupervisor) -> None:
    """Processes messages until a signal. A signal ends the start, too, which may wait for Redis."""
    finish = asyncio.Event()
    for signum in STOP_SIGNALS | RESTART_SIGNALS:
        with suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(signum, finish.set)
    worker = RivyaWorker(
        create_broker(supervisor.url, queue=supervisor.queue, **supervisor.broker_options),
        store=create_store(supervisor.url, queue=supervisor.queue),
        rate_limit=supervisor.rate_limit,
        download_root=supervisor.download_root,
        **supervisor.session_options,
    )
    if supervisor.on_worker_created is not None:
        supervisor.on_worker_created(worker)
    worker.broker.is_worker_process = True
    startup, stop = asyncio.create_task(worker.broker.startup()), asyncio.create_task(finish.wait())
    try:
        await asyncio.wait({startup, stop}, return_when=asyncio.FIRST_COMPLETED)
        if startup.done():
            startup.result()
            receiver = DrainingReceiver(
                worker.broker,
                max_async_tasks=MAX_TASKS,
                max_jobs=supervisor.max_jobs,
                wait_tasks_timeout=DRAIN_TIMEOUT,
                run_startup=False,
            )
            await receiver.listen(finish)
    finally:
        stop.cancel()
        startup.cancel()
        await asyncio.wait({startup, stop})
        await wait_at_most(SHUTDOWN_TIMEOUT, worker.broker.shutdown())
