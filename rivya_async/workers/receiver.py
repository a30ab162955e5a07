"""Taskiq's receiver, for workers that are to drain, and to keep what they cannot read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskiq import AckableMessage
from taskiq.receiver import Receiver as TaskiqReceiver
from taskiq.utils import maybe_awaitable

from .._engine.ambient import Ambient
from .desk import desk_on, open_desk
from .store import DeadLetter

if TYPE_CHECKING:
    from typing import Final

MOST_SHOWN: Final = 200
"""Characters of a message that nobody can read which its dead letter tells."""


class Receiver(TaskiqReceiver):
    """For `taskiq worker module:broker --receiver rivya_async.workers:Receiver`; `rivya worker` uses it.

    When it is told to finish (SIGTERM) nothing more is bought, and open waits are handed back at once: their messages
    stay unacknowledged, and go to the next worker. Messages that nobody can read, or whose task nobody knows, become
    dead letters; Taskiq's own receiver forgets them, or keeps them for ever.
    """

    async def listen(self, finish_event: asyncio.Event) -> None:
        """Receive until the event is set."""
        draining = asyncio.create_task(self._drain_after(finish_event))
        try:
            await super().listen(finish_event)
        finally:
            draining.cancel()
            await asyncio.wait([draining])

    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:  # noqa: FBT001, FBT002 - Taskiq's
        """Carry out one message."""
        data = message.data if isinstance(message, AckableMessage) else message
        reason = self._unreadable(data)
        if reason is not None:
            letter = DeadLetter(reason=reason, code="unreadable", at=Ambient().wall())
            await desk_on(self.broker).store.bury(letter)
            if isinstance(message, AckableMessage):
                await maybe_awaitable(message.ack())
            return
        await super().callback(message, raise_err)

    async def _drain_after(self, finish_event: asyncio.Event) -> None:
        await finish_event.wait()
        desk = open_desk(self.broker)
        if desk is not None:
            desk.stop.set()

    def _unreadable(self, data: bytes) -> str | None:
        try:
            message = self.broker.formatter.loads(data)
        except Exception as error:  # noqa: BLE001 - every serializer has errors of its own
            return f"a message cannot be read ({type(error).__name__}): {data[:MOST_SHOWN]!r}"
        if self.broker.find_task(message.task_name) is None:
            return f"no worker has a task {message.task_name!r:.{MOST_SHOWN}}: import its module beside the broker"
        return None
