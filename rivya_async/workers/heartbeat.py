"""What a worker process does besides its orders: shows that it lives, shares what it learns, tidies the queue."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from typing import TYPE_CHECKING, Any, Final

from .._engine.ambient import Ambient
from .distributed_limiter import DistributedLimiter
from .queue_stats import QueueDepth, read_queue_depth, trim_queue
from .redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskiq import AsyncBroker

    from .._core.allowance import Allowance
    from .._core.policies import RateLimit
    from .._engine.hooks import Hooks
    from .context import WorkerContext
    from .store import WorkerStore

LOG: Final = logging.getLogger("rivya_async.workers")

BEAT: Final = 2.0
"""Seconds between two beats..."""

BEATS_PER_SAVE: Final = 15
"""... after so many of which what was learned is saved..."""

BEATS_PER_TRIM: Final = 5
"""... and the queue is tidied."""


class Heartbeat:
    """Owns the tasks beside the orders, from `start` until `aclose`."""

    def __init__(self, broker: AsyncBroker, store: WorkerStore, worker: str, *, rate_limit: RateLimit | None) -> None:
        self._broker = broker
        self._store = store
        self._worker = worker
        self._rate_limit = rate_limit
        self._budget = (
            DistributedLimiter(store.url, store.namespace, rate_limit) if isinstance(store, RedisStore) else None
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._since = Ambient().wall()
        self.depth: QueueDepth | None = None
        """How long the queue is, as seen at the last beat."""

    @property
    def limit(self) -> Allowance | RateLimit | None:
        """What bounds the session's rate."""
        return self._rate_limit if self._budget is None else self._budget.allowance

    @property
    def rate(self) -> float | None:
        """Requests per second of the account; None where nothing bounds them."""
        if self._budget is None:
            return None if self._rate_limit is None else self._rate_limit.per_second
        return None if math.isinf(self._budget.rate) else self._budget.rate

    @property
    def hooks(self) -> Sequence[Hooks]:
        """What the session tells us by."""
        return [] if self._budget is None else [self._budget]

    async def start(self, worker_context: WorkerContext) -> None:
        """Begin, with what others have learned."""
        dump = await self._store.load_durations()
        if dump is not None:
            worker_context.session.durations.load(dump)
        self._tasks.append(asyncio.create_task(self._beat(worker_context)))
        if self._budget is not None:
            self._tasks.append(asyncio.create_task(self._budget.serve()))

    async def aclose(self, worker_context: WorkerContext) -> None:
        """End, and leave what was learned to others."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            await self._store.save_durations(worker_context.session.durations.dump())
            await self._store.remove_worker(self._worker)
        finally:
            if self._budget is not None:
                await self._budget.aclose()

    async def _beat(self, worker_context: WorkerContext) -> None:
        list_workers = 0
        while True:
            list_workers += 1
            try:
                workers = await self._store.record_heartbeat(self._worker, self._facts(worker_context))
                if self._budget is not None:
                    self._budget.workers = max(1, workers)
                if not list_workers % BEATS_PER_SAVE:
                    await self._store.save_durations(worker_context.session.durations.dump())
                if not list_workers % BEATS_PER_TRIM:
                    await trim_queue(self._broker)
                self.depth = await read_queue_depth(self._broker)
            except Exception as error:  # noqa: BLE001 - a worker that shows no life is taken for dead
                LOG.warning("a beat was missed: %s", error)
            await asyncio.sleep(BEAT)

    def _facts(self, worker_context: WorkerContext) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "since": self._since,
            "carrying": worker_context.carrying,
            "draining": worker_context.shutdown.is_set,
            "rate": self.rate,
            **worker_context.counters,
        }
