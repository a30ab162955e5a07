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

    from .._engine.shutdown import ShutdownSignal
    from ..session import RivyaSession
    from .store import Store

DESK: Final = "rivya_desk"
"""The member of a broker's state that holds its open desk."""


@attrs.define(kw_only=True)
class Desk:
    """One per open session. `tally` counts what has happened: bought, succeeded, failed, dead, handed back."""

    session: RivyaSession
    store: Store
    stop: ShutdownSignal
    wall: Callable[[], float]
    uniform: Callable[[], float]
    carrying: int = 0
    tally: Counter[str] = attrs.field(factory=Counter)
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


def desk_on(broker: AsyncBroker) -> Desk:
    """The open desk of this broker."""
    desk = open_desk(broker)
    if desk is None:
        raise RuntimeError("no RivyaWorker is open on this broker: make one beside it, and start the broker")
    return desk


def open_desk(broker: AsyncBroker) -> Desk | None:
    """The same; None where there is none."""
    desk = getattr(broker.state, DESK, None)
    return desk if isinstance(desk, Desk) else None
