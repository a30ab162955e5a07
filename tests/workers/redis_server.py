"""A Redis server of the tests' own: Debian's, on a free port, with its data in a folder of the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest


class RedisServer:
    """Runs from `start` to `stop`, and can be killed and started again on the same port with the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--logfile", "redis.log"]
        self._process = subprocess.Popen([*command, *options])
        until(self._answers)

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it as a power cut would; what it has told the kernel is on the disk."""
        self._end(kill=True)

    def freeze(self) -> None:
        """Let it be silent, with all connections open, until `stop` or `kill`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            (process.kill if kill else process.terminate)()
            process.send_signal(signal.SIGCONT)
            process.wait(timeout=10)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def require_redis() -> None:
    """Skip where there is no server; CI has one and may not skip."""
    if shutil.which("redis-server") is None:
        assert "RIVYA_REDIS_TESTS" not in os.environ, "redis-server is to be there"
        pytest.skip("no redis-server on this machine: apt-get install redis-server")
