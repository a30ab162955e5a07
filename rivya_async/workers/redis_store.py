"""The store that all processes share, in Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
from redis.asyncio import BlockingConnectionPool, Redis

from .._core.errors import ConfigurationError
from .._jobs.transitions import JobState
from .context import LOG
from .redis_availability import MAX_CONNECTIONS, RedisAvailability, connection_options, is_outage, single_retry
from .store import (
    FIELDS,
    HEARTBEAT_TTL,
    MAX_DEAD_LETTERS,
    RECORD_TTL,
    DeadLetter,
    JobRecord,
    decode_record,
    encode_members,
    invalid_record,
)

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline
    from redis.commands.core import AsyncScript

MIN_RECORD_TTL: Final = 2 * 86_400.0
"""Minimum of `record_ttl` in seconds: twice as long as the service remembers keys."""

MAX_OBSERVATIONS_BYTES: Final = 8 * 1024 * 1024
"""Maximum bytes of the learned durations and prices that are read."""

CHANGE_TTL: Final = 3600
"""Seconds for which the change of a record is listed."""

ADVANCE_SCRIPT: Final = """
local state = redis.pcall('HGET', KEYS[1], 'state')
if type(state) == 'table' or (state and not string.find(ARGV[5], ',' .. state .. ',', 1, true)) then
    redis.call('DEL', KEYS[1])
    state = false
end
state = state or '"absent"'
if string.find(ARGV[1], ',' .. state .. ',', 1, true) then
    redis.call('HSET', KEYS[1], unpack(ARGV, 7))
    if tonumber(ARGV[2]) > 0 then
        redis.call('EXPIRE', KEYS[1], ARGV[2])
    else
        redis.call('PERSIST', KEYS[1])
    end
    local now = redis.call('TIME')
    local at = now[1] + now[2] / 1000000
    redis.pcall('ZADD', KEYS[2], string.format('%.6f', at), ARGV[3])
    redis.pcall('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', at - tonumber(ARGV[4])))
end
return redis.call('HMGET', KEYS[1], unpack(cjson.decode(ARGV[6])))
"""
"""Compares the state, changes the record and lists the change, atomically.

A key that holds no record is replaced. Clients that miss the list of changes read all records now and then.
"""


def _join_states(states: Iterable[JobState | None]) -> str:
    """Returns states as the script compares them: as JSON, between commas."""
    return f",{','.join(json.dumps(state or 'absent') for state in states)},"


class RedisStore:
    """A store in Redis: records are hashes `{namespace}:job:<key>`, the rest of the state is stored beside them.

    `url` is a URL of redis-py. Records of ended jobs expire after `record_ttl` seconds, those of open jobs never:
    configure Redis to persist (`appendonly yes`) and not to evict (`maxmemory-policy noeviction`, the default). While
    Redis is down every call waits for it.
    """

    def __init__(self, url: str, *, namespace: str = "rivya", record_ttl: float = RECORD_TTL) -> None:
        self.url = url
        self.namespace = namespace
        """Prefix of all keys in Redis."""
        if record_ttl < MIN_RECORD_TTL:
            raise ConfigurationError(f"record_ttl must be at least {MIN_RECORD_TTL:.0f} s: messages may be that old")
        self.record_ttl = float(record_ttl)
        self.availability = RedisAvailability(url, "Redis")
        """Availability of Redis, for the log."""
        self._redis: Redis | None = None
        self._advance_script: AsyncScript | None = None

    async def open(self) -> None:
        if self._redis is None:
            pool = BlockingConnectionPool.from_url(
                self.url,
                max_connections=MAX_CONNECTIONS,
                timeout=None,
                decode_responses=True,
                encoding_errors="replace",
                retry=single_retry(),
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

        def read_members(pipeline: Pipeline) -> None:
            for key in keys:
                pipeline.hmget(self._record_key(key), [*FIELDS])

        found = await self._pipeline(read_members)
        return [_parse_record(key, members) for key, members in zip(keys, found, strict=True)]

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        members = encode_members({**changes, "state": state})
        ended = JobRecord(key=key, state=state).has_ended
        keys = [self._record_key(key), self._key("changes")]
        arguments: list[str | int] = [
            _join_states(expected),
            int(self.record_ttl) if ended else 0,
            key,
            CHANGE_TTL,
            _join_states(JobState),
            json.dumps(FIELDS),
            *(part for member in members.items() for part in member),
        ]

        async def run_script() -> Any:
            if self._advance_script is None:
                raise RuntimeError("the store is not open")
            return await self._advance_script(keys=keys, args=arguments)

        return _parse_record(key, await self.availability.wait_for(run_script)) or JobRecord(key=key)

    async def increment_deliveries(self, key: str, by: int = 1) -> int:
        (count,) = await self._pipeline(lambda pipeline: pipeline.hincrby(self._record_key(key), "deliveries", by))
        return count if isinstance(count, int) else 1  # an error: the next read finds the record invalid

    async def read_changes(self, since: float) -> tuple[float, Collection[str]]:
        def read(pipeline: Pipeline) -> None:
            pipeline.time()
            pipeline.zrangebyscore(self._key("changes"), f"{since:.6f}", "+inf")

        (seconds, microseconds), keys = await self._pipeline(read, transaction=True)
        return seconds + microseconds / 1e6, keys if isinstance(keys, list) else ()

    async def add_dead_letter(self, letter: DeadLetter) -> None:
        def add(pipeline: Pipeline) -> None:
            pipeline.lpush(self._key("dead"), json.dumps(attrs.asdict(letter)))
            pipeline.ltrim(self._key("dead"), 0, MAX_DEAD_LETTERS - 1)

        error, _ = await self._pipeline(add, transaction=True)
        if isinstance(error, Exception):
            LOG.error("a dead letter cannot be kept: %s: %s", error, letter.reason)

    async def list_dead_letters(self, limit: int) -> tuple[int, Sequence[DeadLetter]]:
        def read(pipeline: Pipeline) -> None:
            pipeline.llen(self._key("dead"))
            pipeline.lrange(self._key("dead"), 0, limit - 1)

        count, letters = await self._pipeline(read, transaction=True)
        if not isinstance(letters, list):
            return 0, ()
        return count, [DeadLetter.from_json(letter) for letter in letters[:limit]]

    async def record_heartbeat(self, worker: str, facts: Mapping[str, Any]) -> int:
        def record(pipeline: Pipeline) -> None:
            pipeline.set(self._key("worker", worker), json.dumps(facts), px=int(HEARTBEAT_TTL * 1000))
            pipeline.sadd(self._key("workers"), worker)

        await self._pipeline(record, transaction=True)
        return len(await self.list_workers())

    async def list_workers(self) -> Mapping[str, Mapping[str, Any]]:
        (names,) = await self._pipeline(lambda pipeline: pipeline.smembers(self._key("workers")))
        if not names or isinstance(names, Exception):
            return {}
        names = sorted(names)
        (values,) = await self._pipeline(lambda pipeline: pipeline.mget([self._key("worker", name) for name in names]))
        expired = [name for name, facts in zip(names, values, strict=True) if facts is None]
        if expired:
            await self._pipeline(lambda pipeline: pipeline.srem(self._key("workers"), *expired))
        found = {name: _parse_object(facts) for name, facts in zip(names, values, strict=True)}
        return {name: facts for name, facts in found.items() if facts is not None}

    async def remove_worker(self, worker: str) -> None:
        def remove(pipeline: Pipeline) -> None:
            pipeline.delete(self._key("worker", worker))
            pipeline.srem(self._key("workers"), worker)

        await self._pipeline(remove, transaction=True)

    async def save_observations(self, dump: Mapping[str, Any]) -> None:
        await self._pipeline(lambda pipeline: pipeline.set(self._key("durations"), json.dumps(dump)))

    async def load_observations(self) -> Mapping[str, Any] | None:
        key = self._key("durations")
        (dump,) = await self._pipeline(lambda pipeline: pipeline.getrange(key, 0, MAX_OBSERVATIONS_BYTES))
        return (_parse_object(dump) or {}) if dump else None

    async def _pipeline(self, add_commands: Callable[[Pipeline], Any], *, transaction: bool = False) -> list[Any]:
        """Sends commands and returns their replies, which may be errors about the content of keys."""

        async def send() -> list[Any]:
            if self._redis is None:
                raise RuntimeError("the store is not open")
            async with self._redis.pipeline(transaction=transaction) as pipeline:
                add_commands(pipeline)
                replies = await pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception) and is_outage(reply):
                    raise reply
            return replies

        return await self.availability.wait_for(send)

    def _record_key(self, key: str) -> str:
        return self._key("job", key)

    def _key(self, *parts: str) -> str:
        return ":".join([f"{{{self.namespace}}}", *parts])


def _parse_record(key: str, members: Any) -> JobRecord | None:
    """Returns the record of the replies for `FIELDS`; None where the key holds none."""
    if isinstance(members, Exception):
        return invalid_record(key, str(members))
    found = {name: text for name, text in zip(FIELDS, members, strict=True) if text is not None}
    return decode_record(key, found) if "state" in found else None


def _parse_object(text: Any) -> dict[str, Any] | None:
    """Returns the JSON object of a text; None for anything else."""
    with suppress(TypeError, ValueError, RecursionError):
        value = json.loads(text)
        return value if isinstance(value, dict) else None
    return None
