"""`rivya worker`: carry out what others have ordered, until SIGTERM; or show how the workers are."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError, RivyaError
from .._core.policies import RateLimit
from .._core.settings import Settings
from .._engine.ambient import Ambient
from .exit_codes import ExitCode
from .failures import exit_code_of
from .logs import configure, quiet
from .output import Output
from .render import plural, seconds
from .target import BRISK
from .worker_parser import BROKER_VARIABLE

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from ..workers import RivyaWorker
    from ..workers.process import Workers
    from ..workers.queue import Depth
    from .jobs import JobList

PATIENCE: Final = 5.0
"""Seconds that the broker may take to answer."""

SHOWN: Final = 5
"""Dead letters that are told."""

TALLIED: Final = ("bought", "succeeded", "failed", "dead", "handed_back")


def serve(arguments: Namespace) -> int:
    """Run the processes; each has an event loop of its own, this one none."""
    output = Output(is_json=arguments.json)
    try:
        workers = _workers(arguments)
    except RivyaError as error:
        output.failed(error)
        return exit_code_of(error)
    output.note(f"{plural(arguments.processes, 'worker')} at the queue {arguments.queue!r}, until Ctrl-C or SIGTERM.")
    return ExitCode.SERVICE if workers.run() else ExitCode.OK


def checked_broker(url: str | None) -> str:
    """The URL of the broker, or a `ConfigurationError` that says how to name one."""
    if url is None:
        raise ConfigurationError(f"where is the broker? --broker redis://HOST:PORT, or {BROKER_VARIABLE}")
    if find_spec("taskiq") is None:
        raise ConfigurationError("workers stand on Taskiq: pip install 'rivya-async[workers]'")
    return url


def _workers(arguments: Namespace) -> Workers:
    url = checked_broker(arguments.broker)
    from ..workers.brokers import scheme_of
    from ..workers.process import Workers

    if scheme_of(url) == "memory":
        raise ConfigurationError("memory:// is within one process: a worker of its own needs redis://HOST:PORT")
    if arguments.telemetry and find_spec("opentelemetry") is None:
        raise ConfigurationError("telemetry needs OpenTelemetry: pip install 'rivya-async[otel]'")
    settings = Settings.resolve(os.environ)
    settings.required_key()
    return Workers(
        url=url,
        queue=arguments.queue,
        processes=arguments.processes,
        rate_limit=None if arguments.rate is None else RateLimit(arguments.rate),
        max_orders=arguments.max_orders,
        options={"poll": BRISK} if settings.is_local else {},
        configure=partial(configure, is_json=arguments.json),
        equip=_tell_telemetry if arguments.telemetry else None,
    )


def _tell_telemetry(worker: RivyaWorker) -> None:
    """In a worker process: have what its session does, its queue and its budget told to OpenTelemetry."""
    from ..otel import Telemetry

    worker.hooks.append(Telemetry(queue_depth=lambda: worker.queue_depth, budget=lambda: worker.rate))


# --- health -----------------------------------------------------------------------------------------------------------


async def run(arguments: Namespace, output: Output, _: JobList) -> int:
    """Show how workers and queue are. `SERVICE` where nobody works, or the broker does not answer."""
    url = checked_broker(arguments.broker)
    from ..workers import RivyaWorker
    from ..workers.queue import depth_of

    quiet()
    client = RivyaWorker.at(url, queue=arguments.queue)
    async with client.started(PATIENCE):
        beats = await client.store.beats()
        dead, letters = await client.store.dead_letters(SHOWN)
        depth = await depth_of(client.broker)
    told = {
        "workers": {name: dict(facts) for name, facts in beats.items()},
        "queue": None if depth is None else {"waiting": depth.waiting, "held": depth.held},
        "dead_letters": dead,
    }
    reasons = [f"  {letter.key or 'no key'}: {letter.reason}" for letter in letters]
    output.result(told, text="\n".join([*_health_lines(beats, depth), f"{plural(dead, 'dead letter')}", *reasons]))
    return ExitCode.OK if beats else ExitCode.SERVICE


def _health_lines(beats: Mapping[str, Mapping[str, Any]], depth: Depth | None) -> list[str]:
    lines = [f"{plural(len(beats), 'worker')} at work"]
    now = Ambient().wall()
    for name, facts in beats.items():
        tally = ", ".join(f"{facts[what]} {what}" for what in TALLIED if what in facts)
        state = "draining" if facts["draining"] else f"carrying {facts['carrying']}"
        rate = "" if facts["rate"] is None else f", {facts['rate']:.3g} requests/s for all"
        lines.append(f"  {name}: {state}, {tally or 'nothing yet'}, up {seconds(now - facts['since'])}{rate}")
    if depth is not None:
        lines.append(f"queue: {depth.waiting:,} waiting, {depth.held:,} held by workers")
    return lines
