"""The state that all jobs of one worker process share, and the loops that run beside them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from taskiq import AsyncBroker

    from .._engine.shutdown import ShutdownSignal
    from ..session import RivyaSession
    from .store import WorkerStore

LOG: Final = logging.getLogger("rivya_async.workers")

CONTEXT_KEY: Final = "rivya_worker_context"
"""The attribute of a broker's state that holds the `WorkerContext`."""


@attrs.define(kw_only=True)
class WorkerContext:
    """One per open session. `counters` count events: bought, succeeded, failed, dead, returned (to the queue)."""

    session: RivyaSession
    store: WorkerStore
    shutdown: ShutdownSignal
    wall: Callable[[], float]
    uniform: Callable[[], float]
    active_jobs: int = 0
    counters: Counter[str] = attrs.field(factory=Counter)
    _idle: asyncio.Event = attrs.field(factory=asyncio.Event)

    @contextmanager
    def track_job(self) -> Iterator[None]:
        """Counts a job as active inside the block."""
        self.active_jobs += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.active_jobs -= 1
            if not self.active_jobs:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Returns when no job is active."""
        if self.active_jobs:
            await self._idle.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleeps before a retry. Raises `ShutdownRequested` as soon as the worker shuts down."""
        async with self.shutdown.scope():
            await asyncio.sleep(seconds)


def get_worker_context(broker: AsyncBroker) -> WorkerContext:
    """Returns the context of the worker that is open on this broker."""
    context = find_worker_context(broker)
    if context is None:
        raise RuntimeError("no RivyaWorker is open on this broker: create one beside it, and start the broker")
    return context


def find_worker_context(broker: AsyncBroker) -> WorkerContext | None:
    """Returns the same, or None if no worker is open."""
    context = getattr(broker.state, CONTEXT_KEY, None)
    return context if isinstance(context, WorkerContext) else None


async def repeat(action: Callable[[], Awaitable[None]], interval: float, failure: str) -> None:
    """Calls `action` every `interval` seconds until it is cancelled; logs its errors with the text `failure`."""
    while True:
        try:
            await action()
        except Exception as error:  # noqa: BLE001 - the next call may succeed, and others depend on the loop
            LOG.warning("%s: %s", failure, error)
        await asyncio.sleep(interval)
