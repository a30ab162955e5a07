"""Backends that execute the rows of a batch: this process, or workers at a broker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..session_factory import SANDBOX_POLL
from .worker import require_broker, silence_broker_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ...batch.carrier import Carrier, Saver
    from ...session import RivyaSession
    from ..output import Output

BROKER_TIMEOUT: Final = 10.0
"""Seconds until a broker without a response counts as unreachable."""


@attrs.frozen
class ExecutionBackend:
    """Buyer of rows. `save` saves files (None: this process does), `stop` withdraws rows that are not bought yet."""

    carrier: Carrier
    save: Saver | None = None
    stop: Callable[[], None] = lambda: None


@asynccontextmanager
async def open_backend(
    session: RivyaSession, output: Output, broker: str | None, queue: str, download_on: str
) -> AsyncIterator[ExecutionBackend]:
    """Yields the session itself, or a client of the workers at the broker. Raises `NotSent` if it does not respond."""
    if broker is None:
        yield ExecutionBackend(session)
        return
    url = require_broker(broker)
    from ...workers import Fleet, RivyaWorker
    from ...workers.brokers import scheme_of

    is_embedded = scheme_of(url) == "memory"
    options: dict[str, Any] = {"poll": SANDBOX_POLL} if is_embedded and session.is_local else {}
    worker = RivyaWorker.at(url, queue=queue, **options)
    silence_broker_log()
    async with worker.started(BROKER_TIMEOUT), Fleet(worker, session) as fleet:
        if not is_embedded and not await worker.store.beats():
            output.write_note("no worker is at this broker yet: start one with `rivya worker`")
        yield ExecutionBackend(fleet, fleet.save if download_on == "worker" else None, fleet.stop)
