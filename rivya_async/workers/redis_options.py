"""Options of redis-py shared by broker, store and limiter: connections that detect a dead peer."""

from __future__ import annotations

import socket
from typing import Any, Final

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

MAX_CONNECTIONS: Final = 32
"""Maximum connections of one pool; further calls wait for a free one."""

PEER_TIMEOUT: Final = 20
"""Seconds without a reply of the peer after which the kernel closes a connection."""


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
