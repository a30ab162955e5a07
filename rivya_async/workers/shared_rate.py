"""The account's rate limit as all workers know it: kept in Redis, by the clock of Redis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from redis.exceptions import ResponseError, WatchError

from .._core.limits.rate_controller import MAX_HISTORY_SECONDS, MIN_RATE, AdaptiveRate
from .context import LOG

if TYPE_CHECKING:
    from redis.asyncio import Redis

MAX_RETRY_AFTER: Final = 60.0
"""Maximum seconds for which one 429 blocks all processes."""

MAX_DIGITS: Final = 10
"""Digits from which a count of requests is not plausible."""

MAX_CEILING: Final = 1e9
"""Maximum plausible rate in requests per second."""

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
        self._is_invalid = False

    async def add_accepted(self, requests: int) -> None:
        """Counts requests whose responses were no 429, since the last call."""
        name = self._counter(int(_to_seconds(await cast("Any", self._redis.time()))))
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.incrby(name, requests)
            pipeline.expire(name, 2 * MAX_HISTORY_SECONDS)
            await pipeline.execute(raise_on_error=False)  # a counter that is no number is ignored

    async def read(self) -> RateSnapshot:
        """Reads the current state."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(self._key)
            time, state = await pipeline.execute(raise_on_error=False)
        if isinstance(time, Exception):
            raise time
        now = _to_seconds(time)
        learned, hold_until = self._load(state, now)
        return RateSnapshot(learned.rate_at(now), max(0.0, hold_until - now))

    async def add_rejection(self, age: float, retry_after: float) -> None:
        """Learns from a 429 to a request that was sent `age` seconds ago.

        Ignores requests that were sent before the end of the last block, by any worker.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            await pipeline.watch(self._key)
            now = _to_seconds(await cast("Any", pipeline.time()))
            try:
                state = await cast("Any", pipeline.hgetall(self._key))
            except ResponseError as error:
                state = error
            learned, hold_until = self._load(state, now)
            if now - age <= hold_until:
                return
            seconds = range(int(now) - MAX_HISTORY_SECONDS + 1, int(now) + 1)
            counts = await cast("Any", pipeline.mget([self._counter(second) for second in seconds]))
            for second, count in zip(seconds, counts, strict=True):
                if count is not None and count.isdecimal() and len(count) < MAX_DIGITS:
                    learned.on_success(float(second), float(count))
            learned.on_rejection(now, retry_after)
            pipeline.multi()  # type: ignore[no-untyped-call]
            pipeline.delete(self._key)
            pipeline.hset(self._key, mapping={**learned.dump(), "hold_until": now + retry_after})
            pipeline.expire(self._key, STATE_TTL)
            try:
                await pipeline.execute()
            except WatchError:
                return  # another worker has reported the same 429s

    def _load(self, state: Any, now: float) -> tuple[AdaptiveRate, float]:
        """Returns the learned rate and the end of the block. Ignores a state that no worker has written."""
        learned = AdaptiveRate(self._max_rate)
        if not state:
            return learned, 0.0
        values: dict[str, float] = {}
        try:
            values = {name: float(state[name]) for name in ("ceiling", "climbs_from", "is_guess", "hold_until")}
            latest = now + MAX_RETRY_AFTER + 1.0
            is_plausible = (
                MIN_RATE <= values["ceiling"] <= MAX_CEILING
                and -math.inf <= values["climbs_from"] <= latest
                and 0 <= values["hold_until"] <= latest
                and values["is_guess"] in {0.0, 1.0}
            )
        except (LookupError, TypeError, ValueError):
            is_plausible = False
        if not is_plausible:
            if not self._is_invalid:
                LOG.warning("the shared rate in Redis is ignored: %s holds other values", self._key)
            self._is_invalid = True
            return learned, 0.0
        learned.load(values)
        return learned, values["hold_until"]

    def _counter(self, second: int) -> str:
        return f"{self._key}:granted:{second}"


def _to_seconds(time: tuple[int, int]) -> float:
    return time[0] + time[1] / 1e6
