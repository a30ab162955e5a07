"""A Redis server for tests: the installed `redis-server` on a free port, with its data in a folder of the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest


class RedisServer:
    """A server that can be stopped or killed, and started again on the same port with the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = find_free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--logfile", "redis.log"]
        self._process = subprocess.Popen([*command, *options])
        deadline = time.monotonic() + 20
        while not self._responds():
            assert time.monotonic() < deadline, "redis-server did not start in time"
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it with SIGTERM."""
        self._end(kill=False)

    def kill(self) -> None:
        """Ends it like a crash: data that the kernel has is on the disk."""
        self._end(kill=True)

    def freeze(self) -> None:
        """Suspends it, with all connections open, until `stop` or `kill`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            (process.kill if kill else process.terminate)()
            process.send_signal(signal.SIGCONT)
            process.wait(timeout=10)

    def _responds(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_redis() -> None:
    """Skips the test without a `redis-server`; fails in CI, which has one."""
    if shutil.which("redis-server") is None:
        assert "RIVYA_REDIS_TESTS" not in os.environ, "redis-server is required"
        pytest.skip("no redis-server on this machine: apt-get install redis-server")
