"""The tasks in which events are handled: so many at once, so many more that wait, each with an owner and an end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.webhooks.records import WebhookEvent

    Handler = Callable[[WebhookEvent], Awaitable[object]]

FAREWELL: Final = 1.0
"""Seconds that a handler has to tidy up when it is cut."""

logger = logging.getLogger(__name__)


class Crew:
    """Handles events on one event loop; `done` is called with the id of each that was handled without an error.

    What goes wrong is logged with the event's id.
    """

    def __init__(self, running: int, waiting: int, done: Callable[[str], None]) -> None:
        self._places = asyncio.Semaphore(running)
        self._most = running + waiting
        self._done = done
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def is_full(self) -> bool:
        """Whether another event has to come later."""
        return len(self._tasks) >= self._most

    def at_work(self, event_id: str) -> asyncio.Task[None] | None:
        """The task of an event that is being handled."""
        return self._tasks.get(event_id)

    def start(self, handler: Handler, event: WebhookEvent) -> asyncio.Task[None]:
        """Handle it in a task of its own."""
        task = asyncio.create_task(self._handle(handler, event), name=f"webhook event {event.id}")
        self._tasks[event.id] = task
        task.add_done_callback(lambda _: self._ended(event, task))
        return task

    async def aclose(self, patience: float) -> None:
        """Wait for so many seconds for all that is being handled, and cut what is not done by then."""
        tasks = set(self._tasks.values())
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=patience)
        finally:
            for task in tasks:
                task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=FAREWELL)
            if left:
                logger.error("%d handlers were cancelled and go on all the same", len(left))

    async def _handle(self, handler: Handler, event: WebhookEvent) -> None:
        async with self._places:
            await handler(event)

    def _ended(self, event: WebhookEvent, task: asyncio.Task[None]) -> None:
        del self._tasks[event.id]
        if task.cancelled():
            logger.error("the handler of %s was cut off at the event %s, which may be delivered again", *_named(event))
        elif (error := task.exception()) is not None:
            logger.error(
                "the handler of %s failed at the event %s, which may be delivered again", *_named(event), exc_info=error
            )
        else:
            self._done(event.id)


def _named(event: WebhookEvent) -> tuple[str, str]:
    """As text that a log takes: the sender is known, and writes what it likes."""
    return f"{event.type!r:.80}", f"{event.id!r:.80}"
