"""Worker processes, as `rivya worker` starts them: so many, each begun again if it dies, all ended by one SIGTERM."""

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
from .taskiq_receiver import MAX_JOBS
from .worker import RivyaWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.policies import RateLimit

LAST_WORDS: Final = 10.0
"""Seconds after a SIGTERM in which orders may hand themselves back..."""

SHUTDOWN: Final = 30.0
"""... and for the rest of the farewell, with the answers to requests that are on their way."""


@attrs.frozen(kw_only=True)
class WorkerSupervisor:
    """What the processes have in common. `options` are `RivyaSession`'s, `broker_options` those of `broker_at`.

    `configure` and `equip` are called in each process, the latter with its worker, before it begins.
    """

    url: str = attrs.field(repr=False)
    queue: str = "rivya"
    processes: int = 1
    rate_limit: RateLimit | None = None
    max_jobs: int = MAX_JOBS
    options: dict[str, Any] = attrs.field(factory=dict, repr=False)
    broker_options: dict[str, Any] = attrs.field(factory=dict)
    configure: Callable[[], None] | None = None
    on_worker_created: Callable[[RivyaWorker], None] | None = None

    def run(self) -> int:
        """Serve until a signal. Blocks; call it where no event loop runs. The exit code."""
        logging.getLogger("taskiq").setLevel(logging.WARNING)
        if self.configure is not None:
            self.configure()
        arguments = WorkerArgs(
            broker="",
            modules=[],
            workers=self.processes,
            configure_logging=False,
            receiver="rivya_async.workers:DrainingReceiver",
            receiver_arg=[("max_orders", str(self.max_jobs))],
            wait_tasks_timeout=LAST_WORDS,
            shutdown_timeout=SHUTDOWN,
        )
        return ProcessManager(arguments, worker_function=partial(serve, self)).start() or 0


def serve(workers: WorkerSupervisor, args: WorkerArgs) -> None:
    """One process: its own broker, its own session."""
    if workers.configure is not None:
        workers.configure()
    broker = create_broker(workers.url, queue=workers.queue, **workers.broker_options)
    store = create_store(workers.url, queue=workers.queue)
    worker = RivyaWorker(broker, store=store, rate_limit=workers.rate_limit, **workers.options)
    if workers.on_worker_created is not None:
        workers.on_worker_created(worker)
    args.broker = broker  # type: ignore[assignment]
    start_listen(args)
    logging.getLogger("rivya_async.workers").info("worker %s has ended", os.getpid())
