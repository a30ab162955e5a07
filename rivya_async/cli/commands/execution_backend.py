"""Backends that execute the rows of a batch: this process, or workers at a broker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..session_factory import SANDBOX_POLL
from .worker import require_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ...batch.backend import BatchBackend, FileSaver
    from ...session import RivyaSession
    from ..output import Output

BROKER_TIMEOUT: Final = 10.0
"""Seconds until a broker without a response counts as unreachable."""


@attrs.frozen
class ExecutionBackend:
    """Buyer of rows. `save` saves files (None: this process does), `stop` withdraws rows that are not bought yet."""

    carrier: BatchBackend
    save: FileSaver | None = None
    stop: Callable[[], None] = lambda: None


@asynccontextmanager
async def open_backend(
    session: RivyaSession, output: Output, broker: str | None, queue: str, download_on: str
) -> AsyncIterator[ExecutionBackend]:
    """Yields the session itself, or a client of the workers at the broker.

    Raises `RequestNotSentError` if it does not respond.
    """
    if broker is None:
        yield ExecutionBackend(session)
        return
    url = require_broker(broker)
    from ...workers import RemoteJobClient, RivyaWorker
    from ...workers.brokers import parse_broker_scheme

    is_embedded = parse_broker_scheme(url) == "memory"
    options: dict[str, Any] = {"poll": SANDBOX_POLL} if is_embedded and session.is_local else {}
    worker = RivyaWorker.from_url(url, queue=queue, **options)
    async with worker.lifespan(BROKER_TIMEOUT), RemoteJobClient(worker, session) as fleet:
        if not is_embedded and not await worker.store.list_workers():
            output.write_note("no worker is at this broker yet: start one with `rivya worker`")
        yield ExecutionBackend(fleet, fleet.save if download_on == "worker" else None, fleet.stop)
