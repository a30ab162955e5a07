"""Who carries a batch: this process, or workers at a broker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from .logs import quiet
from .session_factory import SANDBOX_POLL
from .worker import checked_broker

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator

    from ..batch.carrier import Carrier, Saver
    from ..session import RivyaSession
    from ..workers import Fleet
    from .output import Output

PATIENCE: Final = 10.0
"""Seconds that the broker may take to be there."""


def _nothing() -> None:
    pass


@attrs.frozen
class ExecutionBackend:
    """Who buys and waits, who saves (None: this process), and what withdraws what is not bought yet."""

    carrier: Carrier
    save: Saver | None = None
    stop: Callable[[], None] = _nothing


@asynccontextmanager
async def open_backend(session: RivyaSession, arguments: Namespace, output: Output) -> AsyncIterator[ExecutionBackend]:
    """Those that the arguments ask for. `NotSent` where the broker does not answer."""
    if arguments.broker is None:
        yield ExecutionBackend(session)
        return
    async with _fleet(session, arguments, output) as fleet:
        yield ExecutionBackend(fleet, fleet.save if arguments.download_on == "worker" else None, fleet.stop)


@asynccontextmanager
async def _fleet(session: RivyaSession, arguments: Namespace, output: Output) -> AsyncIterator[Fleet]:
    url = checked_broker(arguments.broker)
    from ..workers import Fleet, RivyaWorker
    from ..workers.brokers import scheme_of

    is_embedded = scheme_of(url) == "memory"
    options: dict[str, Any] = {"poll": SANDBOX_POLL} if is_embedded and session.is_local else {}
    worker = RivyaWorker.at(url, queue=arguments.queue, **options)
    quiet()
    async with worker.started(PATIENCE), Fleet(worker, session) as fleet:
        if not is_embedded and not await worker.store.beats():
            output.write_note("no worker is at this broker yet: start one with `rivya worker`")
        yield fleet
