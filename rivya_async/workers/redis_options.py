"""Connections to Redis that notice when the other side is gone, and swallow no cancellation."""

from __future__ import annotations

import socket
from typing import Any, Final

from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as TooSlow

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds between tries to reach Redis."""

DEAD_AFTER: Final = 20
"""Seconds without a sign of the other machine after which a connection is dead."""


def patience() -> Retry:
    """Repeat a call until Redis is there: nobody can go on without it."""
    pause = ExponentialWithJitterBackoff(base=FIRST_PAUSE, cap=LONGEST_PAUSE)
    return Retry(pause, retries=-1, supported_errors=(Unreachable, TooSlow))


def watched(url: str) -> dict[str, Any]:
    """Options of redis-py: the kernel watches the connection, unless it stays on this machine (`unix://`).

    There is no `socket_timeout`: with one redis-py sends by way of `asyncio.wait_for`, which swallows a cancellation
    now and then before Python 3.12.
    """
    if url.startswith("unix"):
        return {}
    wanted = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": DEAD_AFTER * 1000}
    known = {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": known, "socket_connect_timeout": DEAD_AFTER / 2}
