"""The background tasks of a worker process: its heartbeat, sharing of observations, trimming of the queue."""

from __future__ import annotations

import asyncio
import math
import os
from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError
from .._engine.environment import Environment
from .context import LOG, repeat
from .distributed_limiter import DistributedLimiter
from .queue_stats import QueueDepth, read_queue_depth, trim_queue
from .redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from taskiq import AsyncBroker

    from .._core.policies import RateLimit
    from .._engine.hooks import Hooks
    from ..session import RivyaSession
    from .context import WorkerContext
    from .store import WorkerStore

HEARTBEAT_INTERVAL: Final = 2.0
"""Seconds between two heartbeats."""

HEARTBEATS_PER_SAVE: Final = 15
"""Heartbeats after which learned durations and prices are shared."""

PRICES: Final = "prices"
"""Member of the shared observations with the learned prices, beside those of the durations."""

HEARTBEATS_PER_TRIM: Final = 5
"""Heartbeats after which the queue is trimmed."""


class Heartbeat:
    """The owner of a worker's background tasks, from `start` to `aclose`."""

    def __init__(self, broker: AsyncBroker, store: WorkerStore, worker: str, *, rate_limit: RateLimit | None) -> None:
        self._broker = broker
        self._store = store
        self._worker = worker
        self._rate_limit = rate_limit
        self._limiter = (
            DistributedLimiter(store.url, store.namespace, rate_limit) if isinstance(store, RedisStore) else None
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._started_at = Environment().wall_time()
        self._count = 0
        self.queue_depth: QueueDepth | None = None
        """The queue's depth at the last heartbeat."""

    @property
    def rate(self) -> float | None:
        """The account's rate in requests per second; None if it is unlimited."""
        if self._limiter is None:
            return None if self._rate_limit is None else self._rate_limit.per_second
        return None if math.isinf(self._limiter.rate) else self._limiter.rate

    def limiter_options(self, hooks: Sequence[Hooks]) -> dict[str, Any]:
        """Returns the options by which a session with these hooks keeps the rate limit."""
        if self._limiter is None:
            return {"rate_limit": self._rate_limit, "hooks": hooks}
        return {"rate_limit": self._limiter.allowance, "hooks": [*hooks, self._limiter]}

    async def start(self, context: WorkerContext) -> None:
        """Starts the tasks, with the durations and prices that other workers have learned."""
        observations = await self._store.load_observations()
        if observations is not None:
            _load("durations", context.session.durations.load, observations)
            load_prices(context.session, observations)
        heartbeats = repeat(lambda: self._beat(context), HEARTBEAT_INTERVAL, "heartbeats")
        self._tasks.append(asyncio.create_task(heartbeats))
        if self._limiter is not None:
            self._tasks.append(asyncio.create_task(self._limiter.run()))

    async def aclose(self, context: WorkerContext) -> None:
        """Stops the tasks and saves the learned durations and prices for other workers."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            await self._share_observations(context.session)
            await self._store.remove_worker(self._worker)
        finally:
            if self._limiter is not None:
                await self._limiter.aclose()

    async def _share_observations(self, session: RivyaSession) -> None:
        """Saves the learned durations and prices, after the prices of other workers were added."""
        load_prices(session, await self._store.load_observations() or {})
        await self._store.save_observations({**session.durations.dump(), PRICES: session.prices.dump()})

    async def _beat(self, context: WorkerContext) -> None:
        self._count += 1
        facts = {
            "pid": os.getpid(),
            "started_at": self._started_at,
            "active_jobs": context.active_jobs,
            "draining": context.shutdown.is_set,
            "rate": self.rate,
            **context.counters,
        }
        workers = await self._store.record_heartbeat(self._worker, facts)
        if self._limiter is not None:
            self._limiter.workers = max(1, workers)
        if not self._count % HEARTBEATS_PER_SAVE:
            await self._share_observations(context.session)
        if not self._count % HEARTBEATS_PER_TRIM:
            await trim_queue(self._broker)
        self.queue_depth = await read_queue_depth(self._broker)


def load_prices(session: RivyaSession, observations: Mapping[str, Any]) -> None:
    """Adds the prices of the shared observations to those of a session. Logs and ignores invalid ones."""
    if observations.get(PRICES) is not None:
        _load(PRICES, session.prices.load, observations[PRICES])


def _load(name: str, load: Callable[[Mapping[str, Any]], None], dump: Mapping[str, Any]) -> None:
    try:
        load(dump)
    except ConfigurationError as error:
        LOG.warning("the shared %s of jobs are ignored: %s", name, error)
