"""The account's rate limit as all workers know it: kept in Redis, by the clock of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from redis.exceptions import WatchError

from .._core.limits.rate_controller import MAX_HISTORY_SECONDS, AdaptiveRate

if TYPE_CHECKING:
    from redis.asyncio import Redis

STATE_TTL: Final = 86_400
"""Seconds without a 429 after which a learned rate limit expires."""


@attrs.frozen
class RateSnapshot:
    """The account's rate in requests per second, and the seconds for which no request may be sent."""

    rate: float
    blocked_for: float


class SharedRateState:
    """The learned rate of one account; all workers use the same keys. Methods raise redis-py's errors."""

    def __init__(self, redis: Redis, namespace: str, max_rate: float) -> None:
        self._redis = redis
        self._key = f"{{{namespace}}}:rate"
        self._max_rate = max_rate

    async def add_accepted(self, requests: int) -> None:
        """Counts requests whose responses were no 429, since the last call."""
        name = self._counter(int(_to_seconds(await cast("Any", self._redis.time()))))
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.incrby(name, requests)
            pipeline.expire(name, 2 * MAX_HISTORY_SECONDS)
            await pipeline.execute()

    async def read(self) -> RateSnapshot:
        """Reads the current state."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(self._key)
            time, state = await pipeline.execute()
        now = _to_seconds(time)
        return RateSnapshot(self._load(state).rate_at(now), max(0.0, float(state.get("hold_until", 0.0)) - now))

    async def add_rejection(self, age: float, retry_after: float) -> None:
        """Learns from a 429 to a request that was sent `age` seconds ago.

        Ignores requests that were sent before the end of the last block, by any worker.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            await pipeline.watch(self._key)
            now = _to_seconds(await cast("Any", pipeline.time()))
            state = await cast("Any", pipeline.hgetall(self._key))
            if now - age <= float(state.get("hold_until", 0.0)):
                return
            seconds = range(int(now) - MAX_HISTORY_SECONDS + 1, int(now) + 1)
            counts = await cast("Any", pipeline.mget([self._counter(second) for second in seconds]))
            learned = self._load(state)
            for second, count in zip(seconds, counts, strict=True):
                if count is not None:
                    learned.on_success(float(second), float(count))
            learned.on_rejection(now, retry_after)
            pipeline.multi()  # type: ignore[no-untyped-call]
            pipeline.hset(self._key, mapping={**learned.dump(), "hold_until": now + retry_after})
            pipeline.expire(self._key, STATE_TTL)
            try:
                await pipeline.execute()
            except WatchError:
                return  # another worker has reported the same 429s

    def _load(self, state: dict[str, str]) -> AdaptiveRate:
        learned = AdaptiveRate(self._max_rate)
        if "ceiling" in state:
            learned.load({name: float(state[name]) for name in ("ceiling", "climbs_from", "is_guess")})
        return learned

    def _counter(self, second: int) -> str:
        return f"{self._key}:granted:{second}"


def _to_seconds(time: tuple[int, int]) -> float:
    return time[0] + time[1] / 1e6
