"""`rivya worker`: processes that run enqueued jobs until SIGTERM, and their state."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..._core.config import Config
from ..._core.errors import ConfigurationError, RivyaError
from ..._core.policies import RateLimit
from ..._engine.environment import Environment
from ..command import RivyaCommand
from ..errors import exit_code_for
from ..exit_codes import ExitCode
from ..logs import configure_worker_logging
from ..options import POSITIVE, broker_options
from ..output import Output
from ..render import format_duration, pluralize
from ..run import CommandContext, catch_ctrl_c, run
from ..session_factory import SANDBOX_POLL, proxy_options, require_api_key, sandbox_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...workers import RivyaWorker
    from ...workers.queue_stats import QueueDepth
    from ...workers.supervisor import WorkerSupervisor

BROKER_TIMEOUT: Final = 5.0
"""Seconds that the broker has to respond."""

MAX_LETTERS: Final = 5
"""Dead letters that `--health` shows."""

COUNTERS: Final = ("bought", "succeeded", "failed", "dead", "returned")


@click.command("worker", cls=RivyaCommand)
@broker_options("Source of jobs")
@click.option("--processes", metavar="N", type=POSITIVE, default=1, help="Worker processes.")
@click.option(
    "--rate", metavar="R", type=float, help="Requests per second of the account, for all workers.  [default: learned]"
)
@click.option(
    "--download-root",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save files of jobs inside this folder only.  [default: nowhere]",
)
@click.option("--max-orders", metavar="N", type=POSITIVE, default=10_000, help="Jobs per process at a time.")
@click.option("--telemetry", is_flag=True, help="Spans and metrics through the global providers of OpenTelemetry.")
@click.option("--health", is_flag=True, help="Show the state of workers and queue, and end.")
def worker(*, broker: str | None, queue: str, health: bool, **options: Any) -> int:
    """Run jobs that other programs enqueue, on any number of machines.

    Takes jobs of rivya batch run --broker, and those that your programs enqueue (rivya_async.workers). Every
    job is bought once, however often a worker dies; all workers share the account's rate. SIGTERM or
    Ctrl-C: nothing more is bought, and the other workers take over open waits.
    A URL in RIVYA_BROKER does not appear in process lists.
    --json: the log on stderr as one JSON object per line; with --health, one object on stdout.
    Everyone who can write to the broker can have files saved below --download-root, and nowhere else.

    Examples:
      rivya worker --broker redis://127.0.0.1:6379 --processes 2
      rivya worker --broker redis://127.0.0.1:6379 --rate 50 --json
      rivya worker --broker redis://127.0.0.1:6379 --health
    """
    if health:
        return run(_show_health, {"broker": broker, "queue": queue})
    flags = click.get_current_context().meta
    output = Output(is_json=flags["is_json"])
    try:
        with sandbox_environment(output) if flags["is_sandbox"] else nullcontext():
            workers = _make_workers(
                broker, queue, is_json=flags["is_json"], verbosity=flags["verbosity"], proxy=flags["proxy"], **options
            )
            output.write_note(
                f"{pluralize(options['processes'], 'worker')} at the queue {queue!r}, until Ctrl-C or SIGTERM."
            )
            with catch_ctrl_c():  # each process has its own event loop, this one none
                return ExitCode.SERVICE if workers.run() else ExitCode.OK
    except RivyaError as error:
        output.write_error(error)
        return exit_code_for(error)


def require_broker(url: str | None) -> str:
    """Returns the URL of the broker. Raises `ConfigurationError` if there is none, or the extra is missing."""
    if url is None:
        raise ConfigurationError("there is no broker: set RIVYA_BROKER, or pass --broker redis://HOST:PORT")
    if find_spec("taskiq") is None:
        raise ConfigurationError("workers need Taskiq: pip install 'rivya-async[workers]'")
    return url


def _make_workers(
    broker: str | None,
    queue: str,
    *,
    is_json: bool,
    verbosity: int,
    proxy: str | None,
    processes: int,
    rate: float | None,
    download_root: Path | None,
    max_orders: int,
    telemetry: bool,
) -> WorkerSupervisor:
    url = require_broker(broker)
    from ...workers.brokers import parse_broker_scheme
    from ...workers.supervisor import WorkerSupervisor

    if parse_broker_scheme(url) == "memory":
        raise ConfigurationError("memory:// is within one process: a worker of its own needs redis://HOST:PORT")
    if telemetry and find_spec("opentelemetry") is None:
        raise ConfigurationError("telemetry needs OpenTelemetry: pip install 'rivya-async[otel]'")
    settings = Config.resolve(os.environ)
    require_api_key(settings)
    return WorkerSupervisor(
        url=url,
        queue=queue,
        processes=processes,
        rate_limit=None if rate is None else RateLimit(rate),
        max_jobs=max_orders,
        download_root=download_root,
        session_options={
            **proxy_options(proxy, settings),
            **({"poll": SANDBOX_POLL} if settings.is_local else {}),
        },
        on_process_start=partial(configure_worker_logging, is_json=is_json, verbosity=verbosity),
        on_worker_created=_add_telemetry if telemetry else None,
    )


def _add_telemetry(worker: RivyaWorker) -> None:
    """Reports the session, the queue and the rate of a worker process to OpenTelemetry."""
    from ...otel import Telemetry

    worker.hooks.append(Telemetry(queue_depth=lambda: worker.queue_depth, rate_limit=lambda: worker.rate))


# --- health -----------------------------------------------------------------------------------------------------------


async def _show_health(context: CommandContext, *, broker: str | None, queue: str) -> int:
    """Shows workers and queue. Returns `SERVICE` if there is no worker."""
    url = require_broker(broker)
    from ...workers import RivyaWorker
    from ...workers.queue_stats import read_queue_depth

    client = RivyaWorker.from_url(url, queue=queue)
    async with client.lifespan(BROKER_TIMEOUT):
        beats = await client.store.list_workers()
        dead, letters = await client.store.list_dead_letters(MAX_LETTERS)
        depth = await read_queue_depth(client.broker)
    value = {
        "workers": {name: dict(facts) for name, facts in beats.items()},
        "queue": None if depth is None else {"waiting": depth.waiting, "unacknowledged": depth.unacknowledged},
        "dead_letters": dead,
    }
    reasons = [f"  {letter.key or 'no key'}: {letter.reason}" for letter in letters]
    lines = [*_format_health(beats, depth), pluralize(dead, "dead letter"), *reasons]
    context.output.write_result(value, text="\n".join(lines))
    return ExitCode.OK if beats else ExitCode.SERVICE


def _format_health(beats: Mapping[str, Mapping[str, Any]], depth: QueueDepth | None) -> list[str]:
    lines = [f"{pluralize(len(beats), 'worker')} running"]
    now = Environment().wall_time()
    for name, facts in beats.items():
        counts = ", ".join(f"{facts[counter]} {counter}" for counter in COUNTERS if counter in facts)
        state = "draining" if facts["draining"] else pluralize(facts["active_jobs"], "job")
        rate = "" if facts["rate"] is None else f", {facts['rate']:.3g} requests/s for all"
        lines.append(
            f"  {name}: {state}, {counts or 'nothing yet'}, up {format_duration(now - facts['started_at'])}{rate}"
        )
    if depth is not None:
        lines.append(f"queue: {depth.waiting:,} waiting, {depth.unacknowledged:,} not acknowledged")
    return lines
