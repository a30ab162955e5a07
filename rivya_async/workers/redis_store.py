"""The store that all processes share: Redis, through redis.asyncio."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from redis.asyncio import BlockingConnectionPool, Redis

from .._core.errors import ConfigurationError
from .._jobs.transitions import JobState
from .connections import patience, watched
from .record import JobRecord, decode_record, encode_members
from .store import BEAT_LASTS, KEPT, MOST_LETTERS, DeadLetter, expected_names

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript

MOST_CONNECTIONS: Final = 32
"""Calls beyond it wait for each other."""

SHORTEST: Final = 2 * 86_400.0
"""Seconds for which ended orders are kept at least: twice as long as the service remembers keys."""

CHANGES_KEPT: Final = 3600
"""Seconds for which it is known which records have changed."""

ADVANCE: Final = """
local state = redis.call('HGET', KEYS[1], 'state')
state = state and string.sub(state, 2, -2) or 'absent'
if string.find(ARGV[1], ',' .. state .. ',', 1, true) then
    redis.call('HSET', KEYS[1], unpack(ARGV, 5))
    if tonumber(ARGV[2]) > 0 then
        redis.call('EXPIRE', KEYS[1], ARGV[2])
    else
        redis.call('PERSIST', KEYS[1])
    end
    local now = redis.call('TIME')
    local at = now[1] + now[2] / 1000000
    redis.call('ZADD', KEYS[2], string.format('%.6f', at), ARGV[3])
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', at - tonumber(ARGV[4])))
end
return redis.call('HGETALL', KEYS[1])
"""
"""Compare the state, change the record, and note that it has changed: at once, or not at all."""


class RedisStore:
    """Records under `{namespace}:job:<key>`, with what else workers share beside them.

    `url` as redis-py takes it. Ended orders are forgotten after `kept` seconds, open ones never: let Redis persist
    (`appendonly yes`) and evict nothing (`maxmemory-policy noeviction`, its default). While Redis is away every call
    waits for it.
    """

    def __init__(self, url: str, *, namespace: str = "rivya", kept: float = KEPT) -> None:
        self.url = url
        self.namespace = namespace
        if kept < SHORTEST:
            raise ConfigurationError(f"kept must be at least {SHORTEST:.0f} s: messages may be that old")
        self.kept = float(kept)
        self._redis: Redis | None = None
        self._advance: AsyncScript | None = None

    async def open(self) -> None:
        """See `Store.open`. Connects with the first call."""
        if self._redis is None:
            pool = BlockingConnectionPool.from_url(
                self.url,
                max_connections=MOST_CONNECTIONS,
                timeout=None,
                decode_responses=True,
                retry=patience(),
                **watched(self.url),
            )
            self._redis = Redis.from_pool(pool)
            self._advance = self._redis.register_script(ADVANCE)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        redis, self._redis, self._advance = self._redis, None, None
        if redis is not None:
            await redis.aclose()

    async def read(self, keys: Sequence[str]) -> list[JobRecord | None]:
        """See `Store.read`."""
        if not keys:
            return []
        async with self._opened.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(self._job(key))
            found = await pipeline.execute()
        return [
            decode_record(key, members) if "state" in members else None
            for key, members in zip(keys, found, strict=True)
        ]

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        """See `Store.advance`."""
        if self._advance is None:
            raise RuntimeError("the store is not open")
        members = encode_members({**changes, "state": state})
        ended = JobRecord(key=key, state=state).has_ended
        flat = await self._advance(
            keys=[self._job(key), self._name("changes")],
            args=[
                f",{','.join(expected_names(expected))},",
                int(self.kept) if ended else 0,
                key,
                CHANGES_KEPT,
                *(part for member in members.items() for part in member),
            ],
        )
        return decode_record(key, dict(zip(flat[::2], flat[1::2], strict=True)))

    async def count_delivery(self, key: str, by: int = 1) -> int:
        """See `Store.count_delivery`."""
        return int(await cast("Any", self._opened.hincrby(self._job(key), "deliveries", by)))

    async def changed_since(self, moment: float) -> tuple[float, Collection[str]]:
        """See `Store.changed_since`."""
        async with self._opened.pipeline(transaction=True) as pipeline:
            pipeline.time()
            pipeline.zrangebyscore(self._name("changes"), f"{moment:.6f}", "+inf")
            (seconds, microseconds), keys = await pipeline.execute()
        return seconds + microseconds / 1e6, keys

    async def bury(self, letter: DeadLetter) -> None:
        """See `Store.bury`."""
        async with self._opened.pipeline(transaction=True) as pipeline:
            pipeline.lpush(self._name("dead"), json.dumps(attrs.asdict(letter), ensure_ascii=False))
            pipeline.ltrim(self._name("dead"), 0, MOST_LETTERS - 1)
            await pipeline.execute()

    async def dead_letters(self, most: int) -> tuple[int, Sequence[DeadLetter]]:
        """See `Store.dead_letters`."""
        async with self._opened.pipeline(transaction=True) as pipeline:
            pipeline.llen(self._name("dead"))
            pipeline.lrange(self._name("dead"), 0, most - 1)
            count, letters = await pipeline.execute()
        return count, [DeadLetter(**json.loads(letter)) for letter in letters[:most]]

    async def beat(self, worker: str, facts: Mapping[str, Any]) -> int:
        """See `Store.beat`."""
        async with self._opened.pipeline(transaction=True) as pipeline:
            pipeline.set(self._name("worker", worker), json.dumps(facts), px=int(BEAT_LASTS * 1000))
            pipeline.sadd(self._name("workers"), worker)
            await pipeline.execute()
        return len(await self.beats())

    async def beats(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Store.beats`."""
        names = sorted(await cast("Any", self._opened.smembers(self._name("workers"))))
        if not names:
            return {}
        told = await self._opened.mget([self._name("worker", name) for name in names])
        gone = [name for name, facts in zip(names, told, strict=True) if facts is None]
        if gone:
            await cast("Any", self._opened.srem(self._name("workers"), *gone))
        return {name: json.loads(facts) for name, facts in zip(names, told, strict=True) if facts is not None}

    async def leave(self, worker: str) -> None:
        """See `Store.leave`."""
        async with self._opened.pipeline(transaction=True) as pipeline:
            pipeline.delete(self._name("worker", worker))
            pipeline.srem(self._name("workers"), worker)
            await pipeline.execute()

    async def save_durations(self, dump: Mapping[str, Any]) -> None:
        """See `Store.save_durations`."""
        await self._opened.set(self._name("durations"), json.dumps(dump))

    async def load_durations(self) -> Mapping[str, Any] | None:
        """See `Store.load_durations`."""
        dump = await self._opened.get(self._name("durations"))
        return None if dump is None else json.loads(dump)

    @property
    def _opened(self) -> Redis:
        if self._redis is None:
            raise RuntimeError("the store is not open")
        return self._redis

    def _job(self, key: str) -> str:
        return self._name("job", key)

    def _name(self, *parts: str) -> str:
        return ":".join([f"{{{self.namespace}}}", *parts])
