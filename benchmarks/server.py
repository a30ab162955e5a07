"""A local service that costs next to nothing, so that it is never the bottleneck: two routes of raw HTTP/1.1.

A job ends at its k-th poll, so every contender sends the same requests; what arrives is counted, so that no contender's
figures need to be believed. `GET /begin?jobs=0&polls=3` forgets everything and sets k, `GET /tally` tells the counts.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import attrs

from .event_loop import fastest

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Instants are this and the loop's clock: only their differences mean something."""

HEAD: Final = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
RECORD: Final = (
    b'{"id":"%b","status":"%b","model":"z-image","reserved_credits":4,"final_credits":%d,'
    b'"created_at":"%b","updated_at":"%b","result":%b,"error":null}'
)
RESULT: Final = b'{"primary_url":"https://cdn.example/%b/1.png","urls":["https://cdn.example/%b/1.png"]}'
BEGIN: Final = re.compile(rb"/begin\?jobs=(\d+)&polls=(\d+)$")
CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@attrs.define
class Job:
    """A job of which `polls` are still to come."""

    polls: int
    created_at: bytes
    updated_at: bytes


@attrs.define
class Tally:
    """What has arrived since the last `begin`."""

    submits: int = 0
    polls: int = 0
    ended: int = 0


class Service:
    """The jobs and the counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._polls_per_job = 1
        self._jobs: dict[bytes, Job] = {}
        self.tally = Tally()

    def begin(self, jobs: int, polls_per_job: int) -> None:
        """Forget everything; so many jobs are there from the beginning."""
        self._polls_per_job = polls_per_job
        self._jobs.clear()
        self.tally = Tally()
        for _ in range(jobs):
            self.submit()

    def submit(self) -> bytes:
        """A new job's first record."""
        self.tally.submits += 1
        task_id = b"task_%08d" % self.tally.submits
        now = self._now()
        self._jobs[task_id] = Job(self._polls_per_job, now, now)
        return RECORD % (task_id, b"queued", 0, now, now, b"null")

    def poll(self, task_id: bytes) -> bytes | None:
        """A job's record; None where there is no such job."""
        job = self._jobs.get(task_id)
        if job is None:
            return None
        self.tally.polls += 1
        job.polls -= 1
        if job.polls > 0:
            return RECORD % (task_id, b"processing", 0, job.created_at, job.updated_at, b"null")
        if job.polls == 0:
            self.tally.ended += 1
            job.updated_at = self._now()
        result = RESULT % (task_id, task_id)
        return RECORD % (task_id, b"succeeded", 4, job.created_at, job.updated_at, result)

    def _now(self) -> bytes:
        return (EPOCH + timedelta(seconds=self._loop.time())).isoformat().encode()


class Connection(asyncio.Protocol):
    """One client's connection, kept alive; requests may come in pieces."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's only looks like one

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        unread = self._unread + data
        while (end := unread.find(b"\r\n\r\n")) >= 0:
            length = CONTENT_LENGTH.search(unread, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(unread) < whole:
                break
            method, target, _ = unread[: unread.find(b"\r\n")].split(b" ", 2)
            self._answer(method, target)
            unread = unread[whole:]
        self._unread = unread

    def _answer(self, method: bytes, target: bytes) -> None:
        body = self._body(method, target)
        status = b"200 OK" if body is not None else b"404 Not Found"
        body = body or b'{"error":{"code":"not_found","message":"There is no such thing."}}'
        if self._transport is not None:
            self._transport.write(HEAD % (status, len(body), body))

    def _body(self, method: bytes, target: bytes) -> bytes | None:
        if target.startswith(b"/api/v1/generations"):
            return self._service.submit() if method == b"POST" else self._service.poll(target[20:])
        if begin := BEGIN.match(target):
            self._service.begin(*map(int, begin.groups()))
            return b"{}"
        if target == b"/tally":
            return json.dumps(attrs.asdict(self._service.tally)).encode()
        return None


async def serve() -> None:
    """Print the address, then serve until standard input ends: the server does not outlive who started it."""
    loop = asyncio.get_running_loop()
    service = Service(loop)
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve on the fastest loop: only the clients are measured."""
    with asyncio.Runner(loop_factory=fastest()) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
