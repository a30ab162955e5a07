"""The broker and the store that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from taskiq import InMemoryBroker
from taskiq.serializers import JSONSerializer
from taskiq_redis_streams import RedisAsyncResultBackend, RedisStreamsBroker

from .._core.errors import ConfigurationError
from .memory_store import MemoryStore
from .redis_options import MAX_CONNECTIONS, connection_options, endless_retry
from .redis_store import RedisStore
from .store import RECORD_TTL

if TYPE_CHECKING:
    from taskiq import AsyncBroker

    from .store import WorkerStore

REDIS_SCHEMES: Final = frozenset({"redis", "rediss", "unix"})

CONSUMER_HEARTBEAT_INTERVAL: Final = 3_000
"""Milliseconds between two heartbeats of a worker to the broker."""

CONSUMER_HEARTBEAT_TTL: Final = 15_000
"""Milliseconds after its last heartbeat until the messages of a worker go to other workers."""

RECLAIM_INTERVAL: Final = 3_000
"""Milliseconds between two searches for the messages of dead workers."""


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
    broker = RedisStreamsBroker(url, **{**defaults, **shared_options, **options})
    # The heartbeat is synchronous, in a thread that cannot be cancelled.
    broker.heartbeat_connection_pool.connection_kwargs["socket_timeout"] = CONSUMER_HEARTBEAT_INTERVAL / 1000
    results: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(
        url,
        result_ex_time=int(RECORD_TTL),
        serializer=JSONSerializer(),
        prefix_str=f"{queue}:result",
        retry=endless_retry(),
        **shared_options,
    )
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
