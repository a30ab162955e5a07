"""Which broker, and which store, a URL stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from taskiq import InMemoryBroker
from taskiq.serializers import JSONSerializer
from taskiq_redis_streams import RedisAsyncResultBackend, RedisStreamsBroker

from .._core.errors import ConfigurationError
from .memory_store import MemoryStore
from .redis_options import patience, watched
from .redis_store import RedisStore
from .store import RECORD_TTL

if TYPE_CHECKING:
    from taskiq import AsyncBroker

    from .store import WorkerStore

REDIS: Final = frozenset({"redis", "rediss", "unix"})

MAX_CONNECTIONS: Final = 32

HEARTBEAT: Final = 3_000
"""Milliseconds between two signs of life of a worker..."""

HEARTBEAT_LASTS: Final = 15_000
"""... and after the last of them, until its messages go to others..."""

LOOK_FOR_ORPHANS: Final = 3_000
"""... which look for them so often."""


def create_broker(url: str, *, queue: str = "rivya", **options: Any) -> AsyncBroker:
    """The broker at a URL: `memory://` for this process alone, `redis://...` for Redis Streams.

    Messages of a worker that has died come to another after 15 seconds; `options` are those of `RedisStreamsBroker`.
    For NATS, RabbitMQ and others make Taskiq's broker yourself, and give it to `RivyaWorker`.
    """
    if parse_broker_scheme(url) == "memory":
        return InMemoryBroker()
    broker = RedisStreamsBroker(
        url,
        **{
            "queue_name": queue,
            "namespace": queue,
            "max_pending": None,  # a job that is waited for keeps no place: the worker bounds what it takes
            "max_connection_pool_size": MAX_CONNECTIONS,
            "timeout": None,
            **watched(url),
            "consumer_heartbeat_interval": HEARTBEAT,
            "consumer_heartbeat_ttl": HEARTBEAT_LASTS,
            "reclaim_interval": LOOK_FOR_ORPHANS,
            **options,
        },
    )
    # It is synchronous, in a thread that nobody can cancel.
    broker.heartbeat_connection_pool.connection_kwargs["socket_timeout"] = HEARTBEAT / 1000
    return broker.with_result_backend(
        RedisAsyncResultBackend(
            url,
            result_ex_time=int(RECORD_TTL),
            serializer=JSONSerializer(),
            prefix_str=f"{queue}:result",
            max_connection_pool_size=MAX_CONNECTIONS,
            timeout=None,
            retry=patience(),
            **watched(url),
        )
    )


def create_store(url: str, *, queue: str = "rivya") -> WorkerStore:
    """The store at a URL: this process's memory for `memory://`, else Redis."""
    return MemoryStore() if parse_broker_scheme(url) == "memory" else RedisStore(url, namespace=queue)


def parse_broker_scheme(url: str) -> str:
    """`memory`, or one of Redis's. `ConfigurationError` for another, without the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        scheme, _ = parts.scheme, parts.port
    except ValueError:
        raise ConfigurationError("this URL of a broker cannot be read: quote what is special in its password") from None
    if scheme != "memory" and scheme not in REDIS:
        raise ConfigurationError(
            f"a broker is at memory:// or redis://HOST:PORT, not at {scheme or 'a URL without a scheme'}: make another "
            "kind of Taskiq broker yourself, and give it to RivyaWorker"
        )
    return scheme
