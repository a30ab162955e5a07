"""Who carries a batch: this process, or workers at a broker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from .logs import quiet
from .target import BRISK
from .worker import checked_broker

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator

    from ..batch.backend import BatchBackend, FileSaver
    from ..session import RivyaSession
    from ..workers import RemoteJobClient
    from .output import Output

PATIENCE: Final = 10.0
"""Seconds that the broker may take to be there."""


def _nothing() -> None:
    pass


@attrs.frozen
class Hands:
    """Who buys and waits, who saves (None: this process), and what withdraws what is not bought yet."""

    carrier: BatchBackend
    save: FileSaver | None = None
    stop: Callable[[], None] = _nothing


@asynccontextmanager
async def hands_of(session: RivyaSession, arguments: Namespace, output: Output) -> AsyncIterator[Hands]:
    """Those that the arguments ask for. `RequestNotSentError` where the broker does not answer."""
    if arguments.broker is None:
        yield Hands(session)
        return
    async with _fleet(session, arguments, output) as fleet:
        yield Hands(fleet, fleet.save if arguments.download_on == "worker" else None, fleet.stop)


@asynccontextmanager
async def _fleet(session: RivyaSession, arguments: Namespace, output: Output) -> AsyncIterator[RemoteJobClient]:
    url = checked_broker(arguments.broker)
    from ..workers import RemoteJobClient, RivyaWorker
    from ..workers.brokers import parse_broker_scheme

    is_embedded = parse_broker_scheme(url) == "memory"
    options: dict[str, Any] = {"poll": BRISK} if is_embedded and session.is_local else {}
    worker = RivyaWorker.from_url(url, queue=arguments.queue, **options)
    quiet()
    async with worker.lifespan(PATIENCE), RemoteJobClient(worker, session) as fleet:
        if not is_embedded and not await worker.store.list_workers():
            output.note("no worker is at this broker yet: start one with `rivya worker`")
        yield fleet
