"""A sandbox in its own thread, for tests without an event loop or with their own."""

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
def run_in_thread(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Serves the sandbox in a thread until the block exits. Raises errors of its start and its shutdown."""
    server = _SandboxThread(sandbox)
    server.start()
    server.is_ready.wait()
    try:
        if server.error is None:
            yield sandbox
    finally:
        server.stop()
        server.join()
        if server.error is not None:
            raise server.error


@contextmanager
def reserve_port() -> Iterator[int]:
    """Reserves a local port on which a sandbox can listen; no other program receives it meanwhile."""
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        port: int = reservation.getsockname()[1]
        if sys.platform != "linux":  # elsewhere, a bound port cannot be shared with a listener: accept the race
            reservation.close()
        yield port


class _SandboxThread(threading.Thread):
    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(name="rivya-sandbox", daemon=True)
        self.is_ready = threading.Event()
        self.error: BaseException | None = None
        self._sandbox = sandbox
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    def run(self) -> None:
        """Serves until `stop` is called."""
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised in the thread of the test
            self.error = error
        finally:
            self.is_ready.set()

    async def _serve(self) -> None:
        async with self._sandbox:
            self._loop = asyncio.get_running_loop()
            self.is_ready.set()
            await self._stopped.wait()

    def stop(self) -> None:
        """Requests the shutdown. Does nothing if the thread has failed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopped.set)
