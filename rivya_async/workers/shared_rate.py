"""What all workers know of the account's rate, kept in Redis by its clock: what was granted, refused and learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from redis.exceptions import WatchError

from .._core.learned_rate import MEMORY, LearnedRate

if TYPE_CHECKING:
    from redis.asyncio import Redis

FORGOTTEN: Final = 86_400
"""Seconds without a refusal after which the limit that one has taught is forgotten."""


@attrs.frozen
class RateSnapshot:
    """The account at one moment: requests per second that it bears, and the seconds for which nothing may go out."""

    rate: float
    hold: float


class SharedRateState:
    """One per worker process; all of them speak of the same keys. Raises redis-py's errors."""

    def __init__(self, redis: Redis, namespace: str, most: float) -> None:
        self._redis = redis
        self._key = f"{{{namespace}}}:rate"
        self._most = most

    async def grant(self, requests: int) -> None:
        """So many requests were answered, and not by refusals, since this was told last."""
        name = self._granted(int(_seconds(await cast("Any", self._redis.time()))))
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.incrby(name, requests)
            pipeline.expire(name, 2 * MEMORY)
            await pipeline.execute()

    async def view(self) -> RateSnapshot:
        """How it stands."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(self._key)
            time, state = await pipeline.execute()
        now = _seconds(time)
        return RateSnapshot(self._learned(state).at(now), max(0.0, float(state.get("hold_until", 0.0)) - now))

    async def refuse(self, ago: float, wait: float) -> None:
        """A request that was sent `ago` seconds ago was answered 429, and asks for so many seconds.

        Requests that were sent before the last refusal was heard of, by whomever, teach nothing new.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            await pipeline.watch(self._key)
            now = _seconds(await cast("Any", pipeline.time()))
            state = await cast("Any", pipeline.hgetall(self._key))
            if now - ago <= float(state.get("hold_until", 0.0)):
                return
            seconds = range(int(now) - MEMORY + 1, int(now) + 1)
            counts = await cast("Any", pipeline.mget([self._granted(second) for second in seconds]))
            learned = self._learned(state)
            for second, count in zip(seconds, counts, strict=True):
                if count is not None:
                    learned.grant(float(second), float(count))
            learned.refuse(now, wait)
            pipeline.multi()  # type: ignore[no-untyped-call]
            pipeline.hset(self._key, mapping={**learned.dump(), "hold_until": now + wait})
            pipeline.expire(self._key, FORGOTTEN)
            try:
                await pipeline.execute()
            except WatchError:
                return  # somebody else has told of the same refusals

    def _learned(self, state: dict[str, str]) -> LearnedRate:
        learned = LearnedRate(self._most)
        if "ceiling" in state:
            learned.load({name: float(state[name]) for name in ("ceiling", "climbs_from", "is_guess")})
        return learned

    def _granted(self, second: int) -> str:
        return f"{self._key}:granted:{second}"


def _seconds(time: tuple[int, int]) -> float:
    return time[0] + time[1] / 1e6
