"""Connections to Redis and its availability: calls wait while it is unavailable, and the log has a line per change."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .._engine.environment import Environment
from .._engine.shutdown import ShutdownSignal
from .._jobs.backoff import Backoff
from .context import LOG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

MAX_CONNECTIONS: Final = 32
"""Maximum connections of one pool; further calls wait for a free one."""

PEER_TIMEOUT: Final = 20
"""Seconds without a reply of the peer after which the kernel closes a connection."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
"""Bounds in seconds of the back-off between attempts to reach Redis."""

DRAIN_GRACE: Final = 0.5
"""Seconds for which a call continues after the worker began to drain: a running Redis responds in milliseconds."""

MAX_CAUSES: Final = 5
"""Maximum causes of one outage that are logged: each once."""

SERVER_ERRORS: Final = (
    *(RedisConnectionError, RedisTimeoutError, OSError, ReadOnlyError, OutOfMemoryError, NoPermissionError),
    *(ClusterDownError, MasterDownError, TryAgainError),
)
SERVER_STATES: Final = re.compile(
    r"\b(READONLY|OOM|MISCONF|NOREPLICAS|BUSY|NOAUTH|WRONGPASS|max number of clients|DB index is out of range)\b"
)
"""Errors, and texts of errors, about the state of the server. All others are about the content of a key."""


class RedisAvailability:
    """The availability of Redis to one part of this process, named by `subject` in the log.

    `shutdown` ends the waiting when the worker drains. `causes` are those of the current outage, the latest last.
    """

    def __init__(self, url: str, subject: str) -> None:
        self.shutdown = ShutdownSignal()
        self.causes: list[str] = []
        self._address = redis_address(url)
        self._subject = subject
        self._failing_calls = 0
        self._uniform = Environment().uniform

    async def wait_for(self, call: Callable[[], Awaitable[T]], *, timeout: float | None = None) -> T:
        """Calls until Redis is available and returns the result. Raises the errors about the content of keys.

        One attempt may take `timeout` seconds. Raises `ShutdownRequested` if Redis does not respond while the worker
        drains.
        """
        backoff = None
        try:
            while True:
                try:
                    async with self.shutdown.scope(DRAIN_GRACE), asyncio.timeout(timeout):
                        result = await call()
                except (RedisError, OSError) as error:
                    if not is_outage(error):
                        raise
                    if backoff is None:
                        backoff = Backoff(self.shutdown, self._uniform, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
                        self._failing_calls += 1
                    self._log_outage(error)
                else:
                    if self.causes and self._failing_calls == (backoff is not None):
                        self._log_recovery()
                    return result
                await backoff.pause()
        finally:
            self._failing_calls -= backoff is not None

    def _log_outage(self, error: Exception) -> None:
        cause = describe_redis_error(error, self._address)
        if cause not in self.causes and len(self.causes) < MAX_CAUSES:
            self.causes.append(cause)
            LOG.error("%s is unavailable, trying again until it responds: %s", self._subject, cause)

    def _log_recovery(self) -> None:
        self.causes.clear()
        LOG.warning("%s is available again", self._subject)


def single_retry() -> Retry:
    """Creates a policy that repeats a command once: a pooled connection may have been closed meanwhile."""
    return Retry(NoBackoff(), 1)


def connection_options(url: str) -> dict[str, Any]:
    """Returns TCP keep-alive options for a URL; none for a socket on this machine (`unix://`).

    `socket_timeout` is not set: with it redis-py sends through `asyncio.wait_for`, which before Python 3.12 may swallow
    a cancellation.
    """
    if url.startswith("unix"):
        return {}
    options = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": PEER_TIMEOUT * 1000}
    supported = {getattr(socket, name): value for name, value in options.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": supported, "socket_connect_timeout": PEER_TIMEOUT / 2}


def is_outage(error: Exception) -> bool:
    """Returns True where the server, and not the content of a key, is the reason of an error."""
    if isinstance(error, SERVER_ERRORS):
        return True
    return not str(error).startswith("WRONGTYPE") and SERVER_STATES.search(str(error)) is not None


def redis_address(url: str) -> str:
    """Returns host and port of a URL, or the path of its socket, without user and password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def describe_redis_error(error: Exception, address: str) -> str:
    """Returns the cause of an error, and what to do next."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = str(error) or type(error).__name__
    if isinstance(error, AuthenticationError | NoPermissionError) or re.search(r"\b(NOAUTH|WRONGPASS)\b", text):
        return f"Redis at {address} rejects the login: {text}. Check user and password in the broker URL"
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return f"the TLS connection to {address} failed: {text}. Check rediss:// and the certificates"
    if any(isinstance(each, socket.gaierror) for each in chain):
        return f"the host name of {address} cannot be resolved: {text}. Check the broker URL"
    if any(isinstance(each, ConnectionRefusedError | FileNotFoundError) for each in chain):
        return f"the connection to {address} was refused: check that Redis runs at this address"
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return f"Redis at {address} does not respond: check that Redis runs at this address"
    return f"Redis at {address}: {text}"
