"""The HTTP server of the sandbox, which closes every connection at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

BACKLOG: Final = 4096
"""Connections that may wait to be accepted."""

SHUTDOWN_TIMEOUT: Final = 0.1
"""Seconds for running requests to end when the sandbox is closed."""

LINGERING_TIME: Final = 1.0
"""Seconds for which aiohttp drains an unread request body after the response."""


class SandboxServer(web.Server):
    """HTTP server that closes every connection at its end.

    aiohttp leaves those open with data that the client does not read, such as a paused video in a browser. CPython 3.11
    loses those that are being accepted while the listening socket is closed.
    """

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler, access_log=None, lingering_time=LINGERING_TIME)
        self._listener: asyncio.Server | None = None
        self._transports: dict[web.RequestHandler, asyncio.Transport] = {}

    async def listen(self, host: str, port: int) -> int:
        """Starts to listen and returns the port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self, host, port, backlog=BACKLOG)
        return int(self._listener.sockets[0].getsockname()[1])

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Remembers the transport."""
        super().connection_made(handler, transport)
        self._transports[handler] = transport

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forgets the transport."""
        super().connection_lost(handler, exc)
        self._transports.pop(handler, None)

    async def aclose(self) -> None:
        """Stops to listen, and closes every connection after the running requests."""
        if self._listener is not None:
            for listening in self._listener.sockets:
                with suppress(NotImplementedError):  # of a loop without readers
                    asyncio.get_running_loop().remove_reader(listening)
            await _run_iterations()
            self._listener.close()
        try:
            self.pre_shutdown()
            await self.shutdown(SHUTDOWN_TIMEOUT)
        finally:
            for transport in self._transports.values():
                transport.abort()
        await _run_iterations()


async def _run_iterations() -> None:
    """Lets the event loop finish connections that it has accepted, and close sockets of aborted ones."""
    for _ in range(3):
        await asyncio.sleep(0)
