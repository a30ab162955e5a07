"""What all orders of one worker process share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from taskiq import AsyncBroker

    from .._engine.stop import Stop
    from ..session import RivyaSession
    from .store import WorkerStore

CONTEXT_KEY: Final = "rivya_desk"
"""The member of a broker's state that holds its open desk."""


@attrs.define(kw_only=True)
class WorkerContext:
    """One per open session. `tally` counts what has happened: bought, succeeded, failed, dead, handed back."""

    session: RivyaSession
    store: WorkerStore
    stop: Stop
    wall: Callable[[], float]
    uniform: Callable[[], float]
    carrying: int = 0
    counters: Counter[str] = attrs.field(factory=Counter)
    _idle: asyncio.Event = attrs.field(factory=asyncio.Event)

    @contextmanager
    def order(self) -> Iterator[None]:
        """One order is carried in here."""
        self.carrying += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.carrying -= 1
            if not self.carrying:
                self._idle.set()

    async def empty(self) -> None:
        """Return when no order is carried."""
        if self.carrying:
            await self._idle.wait()


def get_worker_context(broker: AsyncBroker) -> WorkerContext:
    """The open desk of this broker."""
    worker_context = find_worker_context(broker)
    if worker_context is None:
        raise RuntimeError("no RivyaWorker is open on this broker: make one beside it, and start the broker")
    return worker_context


def find_worker_context(broker: AsyncBroker) -> WorkerContext | None:
    """The same; None where there is none."""
    worker_context = getattr(broker.state, CONTEXT_KEY, None)
    return worker_context if isinstance(worker_context, WorkerContext) else None
