"""The state that all jobs of one worker process share, and the loops that run beside them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from .._core.errors import ConfigurationError
from .._core.terminal_text import to_one_line
from .._engine.shutdown import ShutdownRequested
from .._jobs.backoff import Backoff

if TYPE_CHECKING:
    from taskiq import AsyncBroker

    from .._engine.shutdown import ShutdownSignal
    from ..session import RivyaSession
    from .store import WorkerStore

T = TypeVar("T")


def clean_log_message(record: logging.LogRecord) -> bool:
    """Puts a log message on one line of printable characters: it may contain texts of the service and of Redis."""
    message = record.getMessage()
    if not message.isprintable():
        record.msg, record.args = to_one_line(message), None
    return True


LOG: Final = logging.getLogger("rivya_async.workers")
LOG.addFilter(clean_log_message)

CONTEXT_KEY: Final = "rivya_worker_context"
"""The attribute of a broker's state that holds the `WorkerContext`."""


@attrs.define(kw_only=True)
class WorkerContext:
    """One per open session.

    `counters` count events: bought, replayed (bought earlier), succeeded, failed, dead, returned (to the queue).

    Files are saved inside `download_root` only; without it in any folder, if `trusts_messages`, or else in none.
    """

    session: RivyaSession
    store: WorkerStore
    shutdown: ShutdownSignal
    wall: Callable[[], float]
    uniform: Callable[[], float]
    download_root: Path | None = None
    trusts_messages: bool = False
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

    def download_folder(self, download_to: str) -> Path:
        """Returns the folder that a message names. Raises `ConfigurationError` where it is not allowed."""
        if self.download_root is None:
            if self.trusts_messages:
                return Path(download_to)
            raise ConfigurationError(
                "this worker saves no files, because messages come from other machines: start it with --download-root "
                "DIR, or RivyaWorker(download_root=...)"
            )
        root = self.download_root.resolve()
        folder = (root / download_to).resolve()
        if not folder.is_relative_to(root):
            raise ConfigurationError(f"download_to is outside of the worker's --download-root: {download_to!r:.200}")
        return folder

    async def retry(self, call: Callable[[], Awaitable[T]], failure: str, key: str | None = None) -> T:
        """Calls until it succeeds, with pauses: a paid job is never given up. Raises `ShutdownRequested`."""
        backoff = Backoff(self.shutdown, self.uniform)
        while True:
            try:
                return await call()
            except ShutdownRequested:
                raise
            except Exception:
                LOG.exception("%s, it is tried again", failure, extra={"idempotency_key": key})
            await backoff.pause()


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


async def wait_at_most(seconds: float, call: Awaitable[object]) -> None:
    """Awaits a call, and cancels it after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await call


async def repeat(action: Callable[[], Awaitable[None]], interval: float, subject: str) -> None:
    """Calls `action` every `interval` seconds until it is cancelled; logs when its calls begin or cease to fail."""
    is_failing = False
    while True:
        try:
            await action()
        except ShutdownRequested:
            return
        except Exception as error:  # noqa: BLE001 - the next call may succeed, and others depend on the loop
            if not is_failing:
                LOG.warning("%s fail, trying again: %s", subject, error)
            is_failing = True
        else:
            if is_failing:
                LOG.warning("%s succeed again", subject)
            is_failing = False
        await asyncio.sleep(interval)
