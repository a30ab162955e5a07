"""The tasks that handle events: limited in number, each event once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.webhooks.records import WebhookEvent

    Handler = Callable[[WebhookEvent], Awaitable[object]]

CANCEL_TIMEOUT: Final = 1.0
"""Maximum seconds that a cancelled handler may take for its cleanup."""

MAX_EVENT_IDS: Final = 100_000
"""Maximum number of event ids that a `DedupCache` keeps: about 20 MB."""

logger = logging.getLogger(__name__)


class HandlerPool:
    """Handler tasks on one event loop: `max_running` at a time, and `max_waiting` more that wait for a slot.

    `on_handled` is called with the id of each event whose handler succeeded. A failure is logged with the event's id.
    """

    def __init__(self, max_running: int, max_waiting: int, on_handled: Callable[[str], None]) -> None:
        self._slots = asyncio.Semaphore(max_running)
        self._max_tasks = max_running + max_waiting
        self._on_handled = on_handled
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def is_full(self) -> bool:
        """True if the pool takes no more events now."""
        return len(self._tasks) >= self._max_tasks

    def find_task(self, event_id: str) -> asyncio.Task[None] | None:
        """Returns the unfinished task of an event."""
        return self._tasks.get(event_id)

    def start(self, handler: Handler, event: WebhookEvent) -> asyncio.Task[None]:
        """Starts a task that handles the event."""
        task = asyncio.create_task(self._handle(handler, event), name=f"webhook event {event.id}")
        self._tasks[event.id] = task
        task.add_done_callback(lambda _: self._on_done(event, task))
        return task

    async def aclose(self, timeout: float) -> None:
        """Waits up to `timeout` seconds for the running handlers, then cancels the rest."""
        tasks = set(self._tasks.values())
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=timeout)
        finally:
            for task in tasks:
                task.cancel()
        if tasks:
            _, running = await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)
            if running:
                logger.error("%d handlers were cancelled and are still running", len(running))

    async def _handle(self, handler: Handler, event: WebhookEvent) -> None:
        async with self._slots:
            await handler(event)

    def _on_done(self, event: WebhookEvent, task: asyncio.Task[None]) -> None:
        del self._tasks[event.id]
        names = f"{event.type!r:.80}", f"{event.id!r:.80}"  # text from outside: without line breaks, and short
        if task.cancelled():
            logger.error("the handler of %s was cancelled: event %s, which may be delivered again", *names)
        elif (error := task.exception()) is not None:
            logger.error("the handler of %s failed: event %s, which may be delivered again", *names, exc_info=error)
        else:
            self._on_handled(event.id)


class DedupCache:
    """The ids of handled events, each for `window` seconds. The caller passes the time."""

    def __init__(self, window: float, max_ids: int = MAX_EVENT_IDS) -> None:
        self._window = window
        self._max_ids = max_ids
        self._times: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, event_id: str, now: float) -> None:
        """Adds an id, or renews it; drops expired ids, and the oldest beyond the maximum."""
        self._times.pop(event_id, None)  # a renewed id becomes the latest
        self._times[event_id] = now
        while len(self._times) > self._max_ids or self._is_expired(next(iter(self._times)), now):
            del self._times[next(iter(self._times))]

    def contains(self, event_id: str, now: float) -> bool:
        """Returns whether the id was added within the window."""
        return event_id in self._times and not self._is_expired(event_id, now)

    def _is_expired(self, event_id: str, now: float) -> bool:
        return now - self._times[event_id] > self._window
