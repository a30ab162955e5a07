"""Connections to Redis that notice when the other side is gone, and swallow no cancellation."""

from __future__ import annotations

import socket
from typing import Any, Final

DEAD_AFTER: Final = 20
"""Seconds without a sign of the other machine after which a connection is dead."""


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
