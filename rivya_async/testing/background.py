"""A sandbox in a thread of its own, for tests that have no event loop, or one of their own."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..sandbox import Sandbox


@contextmanager
def running(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox, listening until the block is left. Raises what starting or closing it raises."""
    server = _Server(sandbox)
    thread = threading.Thread(target=server.serve, name="rivya-sandbox", daemon=True)
    thread.start()
    server.is_up.wait()
    try:
        if server.failure is None:
            yield sandbox
    finally:
        server.stop()
        thread.join()
        if server.failure is not None:
            raise server.failure


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port of this machine that is not given to anybody else meanwhile, where a sandbox may listen now and then."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":  # nobody may listen where another socket is bound: let us hope
            holder.close()
        yield port


class _Server:
    def __init__(self, sandbox: Sandbox) -> None:
        self.is_up = threading.Event()
        self.failure: BaseException | None = None
        self._sandbox = sandbox
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over: asyncio.Event | None = None

    def serve(self) -> None:
        """Serve until stopped."""
        try:
            asyncio.run(self._serve())
        except Exception as failure:  # noqa: BLE001 - it is raised where somebody hears of it
            self.failure = failure
        finally:
            self.is_up.set()

    async def _serve(self) -> None:
        self._loop, self._is_over = asyncio.get_running_loop(), asyncio.Event()
        async with self._sandbox:
            self.is_up.set()
            await self._is_over.wait()

    def stop(self) -> None:
        """Close it; nothing happens where it has failed."""
        if self._loop is not None and self._is_over is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._is_over.set)
