"""The store that all processes share, in Redis."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from redis.asyncio import BlockingConnectionPool, Redis

from .._core.errors import ConfigurationError
from .._jobs.transitions import JobState
from .record import JobRecord, decode_record, encode_members
from .redis_options import MAX_CONNECTIONS, connection_options, endless_retry
from .store import HEARTBEAT_TTL, MAX_DEAD_LETTERS, RECORD_TTL, DeadLetter

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript

MIN_RECORD_TTL: Final = 2 * 86_400.0
"""Minimum of `record_ttl` in seconds: twice as long as the service remembers keys."""

CHANGE_TTL: Final = 3600
"""Seconds for which the change of a record is listed."""

ADVANCE_SCRIPT: Final = """
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
"""Compares the state, changes the record and lists the change, atomically."""


class RedisStore:
    """A store in Redis: records are hashes `{namespace}:job:<key>`, the rest of the state is stored beside them.

    `url` is a URL of redis-py. Records of ended jobs expire after `record_ttl` seconds, those of open jobs never:
    configure Redis to persist (`appendonly yes`) and not to evict (`maxmemory-policy noeviction`, the default). While
    Redis is down every call waits for it.
    """

    def __init__(self, url: str, *, namespace: str = "rivya", record_ttl: float = RECORD_TTL) -> None:
        self.url = url
        self.namespace = namespace
        if record_ttl < MIN_RECORD_TTL:
            raise ConfigurationError(f"record_ttl must be at least {MIN_RECORD_TTL:.0f} s: messages may be that old")
        self.record_ttl = float(record_ttl)
        self._redis: Redis | None = None
        self._advance_script: AsyncScript | None = None

    async def open(self) -> None:
        if self._redis is None:
            pool = BlockingConnectionPool.from_url(
                self.url,
                max_connections=MAX_CONNECTIONS,
                timeout=None,
                decode_responses=True,
                retry=endless_retry(),
                **connection_options(self.url),
            )
            self._redis = Redis.from_pool(pool)
            self._advance_script = self._redis.register_script(ADVANCE_SCRIPT)

    async def aclose(self) -> None:
        redis, self._redis, self._advance_script = self._redis, None, None
        if redis is not None:
            await redis.aclose()

    async def read(self, keys: Sequence[str]) -> list[JobRecord | None]:
        if not keys:
            return []
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(self._record_key(key))
            found = await pipeline.execute()
        return [
            decode_record(key, members) if "state" in members else None
            for key, members in zip(keys, found, strict=True)
        ]

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        if self._advance_script is None:
            raise RuntimeError("the store is not open")
        members = encode_members({**changes, "state": state})
        ended = JobRecord(key=key, state=state).has_ended
        flat = await self._advance_script(
            keys=[self._record_key(key), self._key("changes")],
            args=[
                f",{','.join('absent' if each is None else each.value for each in expected)},",
                int(self.record_ttl) if ended else 0,
                key,
                CHANGE_TTL,
                *(part for member in members.items() for part in member),
            ],
        )
        return decode_record(key, dict(zip(flat[::2], flat[1::2], strict=True)))

    async def increment_deliveries(self, key: str, by: int = 1) -> int:
        return int(await cast("Any", self._client.hincrby(self._record_key(key), "deliveries", by)))

    async def read_changes(self, since: float) -> tuple[float, Collection[str]]:
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.time()
            pipeline.zrangebyscore(self._key("changes"), f"{since:.6f}", "+inf")
            (seconds, microseconds), keys = await pipeline.execute()
        return seconds + microseconds / 1e6, keys

    async def add_dead_letter(self, letter: DeadLetter) -> None:
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.lpush(self._key("dead"), json.dumps(attrs.asdict(letter), ensure_ascii=False))
            pipeline.ltrim(self._key("dead"), 0, MAX_DEAD_LETTERS - 1)
            await pipeline.execute()

    async def list_dead_letters(self, limit: int) -> tuple[int, Sequence[DeadLetter]]:
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.llen(self._key("dead"))
            pipeline.lrange(self._key("dead"), 0, limit - 1)
            count, letters = await pipeline.execute()
        return count, [DeadLetter(**json.loads(letter)) for letter in letters[:limit]]

    async def record_heartbeat(self, worker: str, facts: Mapping[str, Any]) -> int:
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.set(self._key("worker", worker), json.dumps(facts), px=int(HEARTBEAT_TTL * 1000))
            pipeline.sadd(self._key("workers"), worker)
            await pipeline.execute()
        return len(await self.list_workers())

    async def list_workers(self) -> Mapping[str, Mapping[str, Any]]:
        names = sorted(await cast("Any", self._client.smembers(self._key("workers"))))
        if not names:
            return {}
        values = await self._client.mget([self._key("worker", name) for name in names])
        expired = [name for name, facts in zip(names, values, strict=True) if facts is None]
        if expired:
            await cast("Any", self._client.srem(self._key("workers"), *expired))
        return {name: json.loads(facts) for name, facts in zip(names, values, strict=True) if facts is not None}

    async def remove_worker(self, worker: str) -> None:
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.delete(self._key("worker", worker))
            pipeline.srem(self._key("workers"), worker)
            await pipeline.execute()

    async def save_durations(self, dump: Mapping[str, Any]) -> None:
        await self._client.set(self._key("durations"), json.dumps(dump))

    async def load_durations(self) -> Mapping[str, Any] | None:
        dump = await self._client.get(self._key("durations"))
        return None if dump is None else json.loads(dump)

    @property
    def _client(self) -> Redis:
        if self._redis is None:
            raise RuntimeError("the store is not open")
        return self._redis

    def _record_key(self, key: str) -> str:
        return self._key("job", key)

    def _key(self, *parts: str) -> str:
        return ":".join([f"{{{self.namespace}}}", *parts])
