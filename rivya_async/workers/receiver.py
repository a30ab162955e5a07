"""Taskiq's receiver, for workers whose orders wait long, that are to drain, and to keep what they cannot read."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from taskiq import AckableMessage, TaskiqMessage
from taskiq.receiver import Receiver as TaskiqReceiver
from taskiq.utils import maybe_awaitable

from .._engine.ambient import Ambient
from .desk import desk_on, open_desk
from .order import ORDERS
from .store import DeadLetter

MOST_ORDERS: Final = 10_000
"""Orders that one process carries at a time: one that waits costs a few kilobytes and a poll now and then."""

MOST_SHOWN: Final = 200
"""Characters of a message that nobody can read which its dead letter tells."""


class Receiver(TaskiqReceiver):
    """For `taskiq worker module:broker --receiver rivya_async.workers:Receiver`; `rivya worker` uses it.

    Orders have `max_orders` places of their own, so that those which wait keep none of the engine's slots
    (`--max-async-tasks`) from other tasks.

    When it is told to finish (SIGTERM) nothing more is bought, and open waits are handed back at once: their messages
    stay unacknowledged, and go to the next worker. Messages that nobody can read, or whose task nobody knows, become
    dead letters; Taskiq's own receiver forgets them, or keeps them for ever.
    """

    def __init__(self, *args: Any, max_orders: int | str = MOST_ORDERS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = asyncio.Semaphore(int(max_orders))

    async def listen(self, finish_event: asyncio.Event) -> None:
        """Receive until the event is set."""
        draining = asyncio.create_task(self._drain_after(finish_event))
        try:
            await super().listen(finish_event)
        finally:
            draining.cancel()
            await asyncio.wait([draining])

    async def callback(
        self,
        message: bytes | AckableMessage,
        raise_err: bool = False,  # noqa: FBT001, FBT002 - Taskiq's signature
    ) -> None:
        """Carry out one message."""
        data = message.data if isinstance(message, AckableMessage) else message
        try:
            read = self._read(data)
        except ValueError as error:
            await desk_on(self.broker).store.bury(DeadLetter(reason=str(error), code="unreadable", at=Ambient().wall()))
            if isinstance(message, AckableMessage):
                await maybe_awaitable(message.ack())
            return
        if read.task_name not in ORDERS:
            await super().callback(message, raise_err)
            return
        async with self._places:
            self._lend_slot()
            await super().callback(message, raise_err)
        await self._take_slot_back()  # not while it has a place: who waits for one has a slot

    async def _drain_after(self, finish_event: asyncio.Event) -> None:
        await finish_event.wait()
        desk = open_desk(self.broker)
        if desk is not None:
            desk.stop.set()

    def _read(self, data: bytes) -> TaskiqMessage:
        """The message; ValueError, with its reason, for one that nobody here can carry out."""
        try:
            message = self.broker.formatter.loads(data)
        except Exception as error:  # noqa: BLE001 - every serializer has errors of its own
            shown = data[:MOST_SHOWN]
            raise ValueError(f"a message cannot be read ({type(error).__name__}): {shown!r}") from None
        if self.broker.find_task(message.task_name) is None:
            name = message.task_name[:MOST_SHOWN]
            raise ValueError(f"no worker has a task {name!r}: import its module beside the broker")
        return message

    def _lend_slot(self) -> None:
        """Let others have what the engine's runner has taken for this message, and will give back at its end."""
        if self.sem is not None:
            self.sem.release()
            self.sem_prefetch.release()

    async def _take_slot_back(self) -> None:
        if self.sem is not None:
            await self.sem_prefetch.acquire()
            await self.sem.acquire()
