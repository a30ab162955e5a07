"""A Taskiq receiver for long waits: it drains at SIGTERM, and keeps unreadable messages as dead letters."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import Any, Final

from taskiq import AckableMessage, TaskiqMessage, TaskiqResult
from taskiq.receiver import Receiver
from taskiq.utils import maybe_awaitable

from .._core.errors import ConfigurationError
from .._engine.shutdown import ShutdownRequested
from .._jobs.transitions import InvalidMessageError
from .context import LOG, find_worker_context, get_worker_context
from .job_message import MESSAGE_PARSERS, bind_arguments
from .store import DeadLetter
from .tasks import reject_message

MAX_JOBS: Final = 10_000
"""Maximum jobs of one process at a time: a waiting job costs a few kilobytes and an occasional poll."""

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Maximum bytes of a message."""

MAX_TASK_NAME: Final = 200
"""Maximum characters of an unknown task's name in a dead letter."""

RETRY_INTERVAL: Final = 5.0
"""Seconds before a message that was not acknowledged is processed again."""


class DrainingReceiver(Receiver):
    """For `taskiq worker module:broker --receiver rivya_async.workers:DrainingReceiver`; `rivya worker` uses it.

    Jobs have `max_jobs` slots of their own, so that waiting jobs do not block Taskiq's slots (`--max-async-tasks`).

    At SIGTERM nothing more is bought, and open waits stop at once: their messages stay unacknowledged and go to the
    next worker. Unreadable messages and those of unknown tasks become dead letters; Taskiq's own receiver drops or
    keeps them for ever.
    """

    def __init__(self, *args: Any, max_jobs: int | str = MAX_JOBS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._job_slots = asyncio.Semaphore(int(max_jobs))

    async def listen(self, finish_event: asyncio.Event) -> None:
        """Receives messages until the event is set."""
        drain = asyncio.create_task(self._drain_after(finish_event))
        try:
            await super().listen(finish_event)
        finally:
            drain.cancel()
            await asyncio.wait([drain])

    async def callback(
        self,
        message: bytes | AckableMessage,
        raise_err: bool = False,  # noqa: FBT001, FBT002 - Taskiq's signature
    ) -> None:
        """Processes one message."""
        with suppress(ShutdownRequested):
            parsed = await self._parse_or_reject(message)
            if parsed is None:
                if isinstance(message, AckableMessage):
                    await maybe_awaitable(message.ack())
            elif parsed.task_name not in MESSAGE_PARSERS:
                await super().callback(message, raise_err)
            else:
                await self._process_job(message)

    async def _process_job(self, message: bytes | AckableMessage) -> None:
        try:
            async with self._job_slots:
                self._release_task_slot()
                await self._process_until_acknowledged(message)
        finally:
            await self._reacquire_task_slot()  # after the job slot is free: a waiting job holds a task slot

    async def _process_until_acknowledged(self, message: bytes | AckableMessage) -> None:
        """Repeats until the message is acknowledged or the worker drains: no other worker gets it before."""
        tracker = _AckTracker(message)
        while True:
            try:
                await super().callback(tracker.message)
            except Exception:  # noqa: BLE001 - a paid job is never given up
                LOG.exception("processing a message failed, it is retried")
            context = find_worker_context(self.broker)
            if tracker.is_acknowledged or context is None or context.shutdown.is_set:
                return
            async with context.shutdown.scope():
                await asyncio.sleep(RETRY_INTERVAL)

    async def _drain_after(self, finish_event: asyncio.Event) -> None:
        await finish_event.wait()
        context = find_worker_context(self.broker)
        if context is not None:
            context.shutdown.set()

    async def _parse_or_reject(self, message: bytes | AckableMessage) -> TaskiqMessage | None:
        """Returns the message, or None after it was kept as a dead letter."""
        context = get_worker_context(self.broker)
        try:
            parsed = self._parse(message.data if isinstance(message, AckableMessage) else message)
        except ValueError as error:
            LOG.warning("%s", error)
            letter = DeadLetter.from_error(InvalidMessageError(str(error)), context.wall())
            await context.store.add_dead_letter(letter)
            return None
        if parse := MESSAGE_PARSERS.get(parsed.task_name):
            try:
                parse(bind_arguments(parsed.task_name, parsed.args, parsed.kwargs))
            except (ConfigurationError, TypeError, ValueError, RecursionError) as error:
                record = await reject_message(context, parsed, error)
                result: TaskiqResult[Any] = TaskiqResult(
                    is_err=False, return_value=record.as_dict(), execution_time=0.0
                )
                await self.broker.result_backend.set_result(parsed.task_id, result)
                return None
        return parsed

    def _parse(self, data: bytes) -> TaskiqMessage:
        """Parses a message; raises ValueError with a reason, without its content, which may be a prompt."""
        if not data or len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message is empty or too long: {len(data)} bytes")
        try:
            message = self.broker.formatter.loads(data)
            message.parse_labels()
            self._get_ack_time(message)
        except Exception as error:  # noqa: BLE001 - each serializer has its own errors
            digest = hashlib.sha256(data).hexdigest()[:16]
            facts = f"{type(error).__name__}; {len(data)} bytes, sha256 {digest}..."
            raise ValueError(f"a message is unreadable ({facts})") from None
        if self.broker.find_task(message.task_name) is None:
            name = message.task_name[:MAX_TASK_NAME]
            raise ValueError(f"no worker has a task {name!r}: import its module beside the broker")
        return message

    def _release_task_slot(self) -> None:
        """Frees the slot that Taskiq's runner took for this message, and frees itself at the message's end."""
        if self.sem is not None:
            self.sem.release()
            self.sem_prefetch.release()

    async def _reacquire_task_slot(self) -> None:
        if self.sem is not None:
            await self.sem_prefetch.acquire()
            await self.sem.acquire()


class _AckTracker:
    """A message that records its acknowledgement; one without acknowledgements counts as acknowledged."""

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
