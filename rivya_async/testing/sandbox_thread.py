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
    runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    loop = runner.get_loop()

    def serve() -> None:
        with runner:
            loop.run_forever()

    thread = threading.Thread(target=serve, name="rivya-sandbox", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result()
        try:
            yield sandbox
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.aclose(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


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
