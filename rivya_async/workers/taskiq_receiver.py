"""Taskiq's receiver, for workers whose orders wait long, that are to drain, and to keep what they cannot read."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from typing import Any, Final

from taskiq import AckableMessage, TaskiqMessage
from taskiq.receiver import Receiver as TaskiqReceiver
from taskiq.utils import maybe_awaitable

from .._core.errors import ConfigurationError
from .._engine.stop import Stopped
from .context import find_worker_context, get_worker_context
from .job_message import MESSAGE_PARSERS, bind_arguments
from .store import DeadLetter

LOG: Final = logging.getLogger("rivya_async.workers")

MAX_JOBS: Final = 10_000
"""Orders that one process carries at a time: one that waits costs a few kilobytes and a poll now and then."""

MOST_SHOWN: Final = 200
"""Characters of the name of a task that nobody knows which a dead letter tells."""

PAUSE: Final = 5.0
"""Seconds before a message that was not acknowledged is carried again."""


class DrainingReceiver(TaskiqReceiver):
    """For `taskiq worker module:broker --receiver rivya_async.workers:DrainingReceiver`; `rivya worker` uses it.

    Orders have `max_orders` places of their own, so that those which wait keep none of the engine's slots
    (`--max-async-tasks`) from other tasks.

    When it is told to finish (SIGTERM) nothing more is bought, and open waits are handed back at once: their messages
    stay unacknowledged, and go to the next worker. Messages that nobody can read, or whose task nobody knows, become
    dead letters; Taskiq's own receiver forgets them, or keeps them for ever.
    """

    def __init__(self, *args: Any, max_jobs: int | str = MAX_JOBS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = asyncio.Semaphore(int(max_jobs))

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
            worker_context = get_worker_context(self.broker)
            await worker_context.store.add_dead_letter(
                DeadLetter(reason=str(error), code="unreadable", at=worker_context.wall())
            )
            if isinstance(message, AckableMessage):
                await maybe_awaitable(message.ack())
            return
        if read.task_name not in MESSAGE_PARSERS:
            await super().callback(message, raise_err)
            return
        try:
            async with self._places:
                self._lend_slot()
                await self._to_its_end(message)
        finally:
            await self._take_slot_back()  # not while it has a place: who waits for one has a slot

    async def _to_its_end(self, message: bytes | AckableMessage) -> None:
        """Until it is acknowledged or handed back: while this worker lives nobody else will get it."""
        told = _AckTracker(message)
        while True:
            try:
                await super().callback(told.message)
            except Exception:
                LOG.exception("an order could not be carried to its end, trying again")
            worker_context = find_worker_context(self.broker)
            if told.is_acknowledged or worker_context is None or worker_context.shutdown.is_set:
                return
            with suppress(Stopped):
                async with worker_context.shutdown.cuts():
                    await asyncio.sleep(PAUSE)

    async def _drain_after(self, finish_event: asyncio.Event) -> None:
        await finish_event.wait()
        worker_context = find_worker_context(self.broker)
        if worker_context is not None:
            worker_context.shutdown.set()

    def _read(self, data: bytes) -> TaskiqMessage:
        """The message; ValueError, with its reason, for one that nobody here can carry out."""
        try:
            message = self.broker.formatter.loads(data)
            message.parse_labels()
        except Exception as error:  # noqa: BLE001 - every serializer has errors of its own
            digest = hashlib.sha256(data).hexdigest()[:16]
            told = f"{type(error).__name__}; {len(data)} bytes, sha256 {digest}..."  # it may hold a prompt
            raise ValueError(f"a message cannot be read ({told})") from None
        if self.broker.find_task(message.task_name) is None:
            name = message.task_name[:MOST_SHOWN]
            raise ValueError(f"no worker has a task {name!r}: import its module beside the broker")
        if message.task_name in MESSAGE_PARSERS:
            try:
                MESSAGE_PARSERS[message.task_name](bind_arguments(message.task_name, message.args, message.kwargs))
            except ConfigurationError as error:
                raise ValueError(f"{message.task_name} cannot be carried out: {error}") from None
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


class _AckTracker:
    """A message, and whether it was acknowledged; one that cannot be always counts as such."""

    def __init__(self, message: bytes | AckableMessage) -> None:
        self.message = message
        self.is_acknowledged = True
        if isinstance(message, AckableMessage):
            self.is_acknowledged = False
            self._ack = message.ack
            self.message = AckableMessage(data=message.data, ack=self._acknowledge)

    async def _acknowledge(self) -> None:
        await maybe_awaitable(self._ack())
        self.is_acknowledged = True
