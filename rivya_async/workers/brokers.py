"""The broker and the store that a URL names."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from taskiq import InMemoryBroker
from taskiq.serializers import JSONSerializer
from taskiq_redis_streams import RedisAsyncResultBackend, RedisStreamsBroker

from .._core.errors import ConfigurationError
from .memory_store import MemoryStore
from .redis_availability import MAX_CONNECTIONS, RedisAvailability, connection_options, is_outage, single_retry
from .redis_store import RedisStore
from .store import RECORD_TTL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from taskiq import AckableMessage, AsyncBroker

    from .store import WorkerStore

REDIS_SCHEMES: Final = frozenset({"redis", "rediss", "unix"})

CONSUMER_HEARTBEAT_INTERVAL: Final = 3_000
"""Milliseconds between two heartbeats of a worker to the broker."""

CONSUMER_HEARTBEAT_TTL: Final = 15_000
"""Milliseconds after its last heartbeat until the messages of a worker go to other workers."""

RECLAIM_INTERVAL: Final = 3_000
"""Milliseconds between two searches for the messages of dead workers."""


STARTUP_ATTEMPT_TIMEOUT: Final = 5.0
"""Maximum seconds of one attempt to reach Redis at startup."""


class RivyaStreamsBroker(RedisStreamsBroker):
    """A broker on Redis Streams that no content of the stream and no outage of Redis stops.

    `availability` is that of Redis to the calls that jobs wait for; the reads of the queue have another one.
    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        # The heartbeat is synchronous, in a thread that cannot be cancelled.
        self.heartbeat_connection_pool.connection_kwargs["socket_timeout"] = CONSUMER_HEARTBEAT_INTERVAL / 1000
        self.availability = RedisAvailability(url, "Redis")
        self._reads = RedisAvailability(url, "the queue in Redis")

    async def startup(self) -> None:
        """Connects. A worker waits until Redis is available; a client raises the errors of redis-py."""
        if self.is_worker_process:
            async with Redis(connection_pool=self.connection_pool) as redis:
                ping = partial(self._create_group, redis)
                await self.availability.wait_for(ping, timeout=STARTUP_ATTEMPT_TIMEOUT)
        await super().startup()

    async def _create_group(self, redis: Redis) -> None:
        try:
            await redis.xgroup_create(self.stream_name, self.consumer_group_name, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise RedisConnectionError(f"the queue {self.stream_name} cannot be read: {error}") from error

    async def _read_new_entries(self, redis: Redis, count: int | None) -> list[Any]:
        return await self._reads.wait_for(partial(self._read_or_create, redis, super()._read_new_entries, count))

    async def _read_or_create(self, redis: Redis, read: Callable[..., Awaitable[list[Any]]], count: int | None) -> Any:
        """Reads new messages. Creates the queue again where Redis has lost it."""
        try:
            return await read(redis, count)
        except ResponseError as error:
            if is_outage(error):
                raise
            await self._create_group(redis)
            return []

    async def _claim_orphaned_entries(
        self, redis: Redis, limit: int, protected: set[str], pending_start: str
    ) -> tuple[list[Any], str]:
        try:
            return await super()._claim_orphaned_entries(redis, limit, protected, pending_start)
        except RedisError:  # the next read meets the same error, and waits
            return [], "-"

    def _ackable(self, message_id: str, entry: dict[bytes, bytes], on_ack: Callable[[], None]) -> AckableMessage:
        """Returns a message. An entry without one is an empty message, which becomes a dead letter."""
        return super()._ackable(message_id, {b"data": entry.get(b"data", b"")}, on_ack)

    def _ack_callback(self, message_id: str, on_ack: Callable[[], None]) -> Callable[[], Awaitable[None]]:
        return partial(self.availability.wait_for, super()._ack_callback(message_id, on_ack))

    def _refresh_heartbeat(self) -> None:
        with suppress(RedisError):  # the worker itself logs the outage
            super()._refresh_heartbeat()

    def _cleanup_heartbeat_connection(self) -> None:
        if not self.availability.causes:  # else the lease expires
            with suppress(RedisError):
                self._heartbeat_redis.delete(self.consumer_heartbeat_key)
        self._heartbeat_redis.close()
        self.heartbeat_connection_pool.disconnect()


class _ResultBackend(RedisAsyncResultBackend[Any]):
    """The results of tasks; writes wait until Redis is available."""

    broker: RivyaStreamsBroker

    async def _set_value(self, name: str, value: bytes) -> None:
        await self.broker.availability.wait_for(partial(super()._set_value, name, value))


def create_broker(url: str, *, queue: str = "rivya", **options: Any) -> AsyncBroker:
    """Creates a broker: `memory://` for this process only, `redis://...` for Redis Streams.

    Messages of a dead worker go to another one after 15 seconds. `options` are those of `RedisStreamsBroker`. For NATS,
    RabbitMQ and others create Taskiq's broker yourself and pass it to `RivyaWorker`.
    """
    if parse_broker_scheme(url) == "memory":
        return InMemoryBroker()
    shared_options = {"max_connection_pool_size": MAX_CONNECTIONS, "timeout": None, **connection_options(url)}
    defaults = {
        "queue_name": queue,
        "namespace": queue,
        "max_pending": None,  # a waiting job holds its message; the worker itself limits how many it takes
        "consumer_heartbeat_interval": CONSUMER_HEARTBEAT_INTERVAL,
        "consumer_heartbeat_ttl": CONSUMER_HEARTBEAT_TTL,
        "reclaim_interval": RECLAIM_INTERVAL,
    }
    broker = RivyaStreamsBroker(url, **{**defaults, **shared_options, **options})
    results = _ResultBackend(
        url,
        result_ex_time=int(RECORD_TTL),
        serializer=JSONSerializer(),
        prefix_str=f"{queue}:result",
        retry=single_retry(),
        **shared_options,
    )
    results.broker = broker
    return broker.with_result_backend(results)


def create_store(url: str, *, queue: str = "rivya") -> WorkerStore:
    """Creates a store: in memory for `memory://`, else in Redis."""
    return MemoryStore() if parse_broker_scheme(url) == "memory" else RedisStore(url, namespace=queue)


def parse_broker_scheme(url: str) -> str:
    """Returns `memory` or a scheme of Redis; the `ConfigurationError` for others omits the URL, which has secrets."""
    try:
        parts = urlsplit(url)
        scheme, _ = parts.scheme, parts.port
    except ValueError:
        raise ConfigurationError(
            "the broker URL cannot be parsed: percent-encode the special characters of its password"
        ) from None
    if scheme != "memory" and scheme not in REDIS_SCHEMES:
        raise ConfigurationError(
            f"a broker URL is memory:// or redis://HOST:PORT, not {scheme or 'a URL without a scheme'}: create another "
            "kind of Taskiq broker yourself, and pass it to RivyaWorker"
        )
    return scheme
