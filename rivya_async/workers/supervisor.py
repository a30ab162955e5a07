"""The parent process of `rivya worker`: starts worker processes, restarts them when they die, stops them at SIGTERM."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
from taskiq.cli.worker.args import WorkerArgs
from taskiq.cli.worker.process_manager import ProcessManager
from taskiq.cli.worker.run import start_listen

from .brokers import create_broker, create_store
from .context import LOG
from .taskiq_receiver import MAX_JOBS
from .worker import RivyaWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.policies import RateLimit

DRAIN_TIMEOUT: Final = 10.0
"""Maximum seconds after SIGTERM for jobs to return to the queue."""

SHUTDOWN_TIMEOUT: Final = 30.0
"""Maximum seconds after the drain for the rest of the shutdown, with the responses to requests in flight."""


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
    session_options: dict[str, Any] = attrs.field(factory=dict, repr=False)
    broker_options: dict[str, Any] = attrs.field(factory=dict)
    on_process_start: Callable[[], None] | None = None
    on_worker_created: Callable[[RivyaWorker], None] | None = None

    def run(self) -> int:
        """Runs until a signal and returns the exit code. Blocks; needs a thread without an event loop."""
        logging.getLogger("taskiq").setLevel(logging.WARNING)
        if self.on_process_start is not None:
            self.on_process_start()
        arguments = WorkerArgs(
            broker="",
            modules=[],
            workers=self.processes,
            configure_logging=False,
            receiver="rivya_async.workers:DrainingReceiver",
            receiver_arg=[("max_jobs", str(self.max_jobs))],
            wait_tasks_timeout=DRAIN_TIMEOUT,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        return ProcessManager(arguments, worker_function=partial(run_worker_process, self)).start() or 0


def run_worker_process(supervisor: WorkerSupervisor, args: WorkerArgs) -> None:
    """Runs one worker process with its own broker and session."""
    if supervisor.on_process_start is not None:
        supervisor.on_process_start()
    broker = create_broker(supervisor.url, queue=supervisor.queue, **supervisor.broker_options)
    store = create_store(supervisor.url, queue=supervisor.queue)
    worker = RivyaWorker(broker, store=store, rate_limit=supervisor.rate_limit, **supervisor.session_options)
    if supervisor.on_worker_created is not None:
        supervisor.on_worker_created(worker)
    args.broker = broker  # type: ignore[assignment] # Taskiq takes a broker in place of its import path
    start_listen(args)
    LOG.info("worker %s has stopped", os.getpid())
