"""A minimal local service with two routes over raw HTTP/1.1, fast enough never to be the bottleneck.

A job ends at poll number k, so every client sends the same requests. The server counts the requests.
`GET /reset?jobs=0&polls=3` resets the state and sets k; `GET /tally` returns the counts. With
`GET /reset?jobs=0&polls=0&median=30&sigma=0.3`, the jobs of that time end after lognormal durations instead.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import ssl
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

import attrs

from .processes import fastest_loop_factory

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Start of the timestamps, to which the loop's clock is added. Only differences are meaningful."""

HEAD: Final = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
RECORD: Final = (
    b'{"id":"%b","status":"%b","model":"z-image","reserved_credits":4,"final_credits":%d,'
    b'"created_at":"%b","updated_at":"%b","result":%b,"error":null}'
)
RESULT: Final = b'{"primary_url":"https://cdn.example/%b/1.png","urls":["https://cdn.example/%b/1.png"]}'
RESET: Final = re.compile(rb"/reset\?jobs=(\d+)&polls=(\d+)(?:&median=([\d.]+)&sigma=([\d.]+))?$")
CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@attrs.define
class Job:
    """A job with its remaining polls."""

    polls: int
    created_at: bytes
    updated_at: bytes
    ends_at: float = math.inf
    """When the job ends on the loop's clock, if it ends at a time."""


@attrs.define
class Counts:
    """Numbers of requests since the last reset."""

    submits: int = 0
    polls: int = 0
    ended: int = 0
    latency: float = 0.0
    """Sum of the seconds from the ends of jobs to the polls that saw them."""


class Service:
    """The jobs and the counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._polls_per_job = 1
        self._median = 0.0
        self._jobs: dict[bytes, Job] = {}
        self.counts = Counts()

    def reset(self, jobs: int, polls_per_job: int, median: float = 0.0, sigma: float = 0.0) -> None:
        """Resets the state and creates a number of jobs."""
        self._polls_per_job = polls_per_job
        self._median, self._sigma = median, sigma
        self._random = random.Random(1)
        self._jobs.clear()
        self.counts = Counts()
        for _ in range(jobs):
            self.submit()

    def submit(self) -> bytes:
        """Creates a job. Returns its record."""
        self.counts.submits += 1
        task_id = b"task_%08d" % self.counts.submits
        now = self._now()
        self._jobs[task_id] = job = Job(self._polls_per_job, now, now)
        if self._median:
            job.ends_at = self._loop.time() + self._random.lognormvariate(math.log(self._median), self._sigma)
        return RECORD % (task_id, b"queued", 0, now, now, b"null")

    def poll(self, task_id: bytes) -> bytes | None:
        """Returns the record of a job, or None if it is unknown."""
        job = self._jobs.get(task_id)
        if job is None:
            return None
        self.counts.polls += 1
        job.polls -= 1
        if self._median:
            return self._poll_timed(task_id, job)
        if job.polls > 0:
            return RECORD % (task_id, b"processing", 0, job.created_at, job.updated_at, b"null")
        if job.polls == 0:
            self.counts.ended += 1
            job.updated_at = self._now()
        result = RESULT % (task_id, task_id)
        return RECORD % (task_id, b"succeeded", 4, job.created_at, job.updated_at, result)

    def _poll_timed(self, task_id: bytes, job: Job) -> bytes:
        now = self._loop.time()
        if now < job.ends_at:
            return RECORD % (task_id, b"processing", 0, job.created_at, job.created_at, b"null")
        self.counts.ended += 1
        self.counts.latency += now - job.ends_at
        ended_at = self._now(job.ends_at)
        return RECORD % (task_id, b"succeeded", 4, job.created_at, ended_at, RESULT % (task_id, task_id))

    def _now(self, now: float | None = None) -> bytes:
        return (EPOCH + timedelta(seconds=self._loop.time() if now is None else now)).isoformat().encode()


class Connection(asyncio.Protocol):
    """A persistent connection. Requests can arrive in parts."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        """Responds to every complete request."""
        buffer = self._buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = CONTENT_LENGTH.search(buffer, 0, end)
            end_of_request = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < end_of_request:
                break
            method, target, _ = buffer[: buffer.find(b"\r\n")].split(b" ", 2)
            self._respond(method, target)
            buffer = buffer[end_of_request:]
        self._buffer = buffer

    def _respond(self, method: bytes, target: bytes) -> None:
        body = self._body(method, target)
        status = b"200 OK" if body is not None else b"404 Not Found"
        body = body or b'{"error":{"code":"not_found","message":"There is no such thing."}}'
        if self._transport is not None:
            self._transport.write(HEAD % (status, len(body), body))

    def _body(self, method: bytes, target: bytes) -> bytes | None:
        if target.startswith(b"/api/v1/generations"):
            return self._service.submit() if method == b"POST" else self._service.poll(target[20:])
        if reset := RESET.match(target):
            jobs, polls, median, sigma = reset.groups()
            self._service.reset(int(jobs), int(polls), float(median or 0), float(sigma or 0))
            return b"{}"
        if target == b"/tally":
            return json.dumps(attrs.asdict(self._service.counts)).encode()
        return None


def certificate() -> Path:
    """Returns the file with the key and the certificate of the server, which is created with openssl once."""
    file = Path(tempfile.gettempdir()) / "rivya-benchmark.pem"
    if not file.exists():
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=127.0.0.1"
        options = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-", "-out", "-"]
        made = subprocess.run([*command.split(), *options], check=True, capture_output=True)  # noqa: S603 - constant
        file.touch(mode=0o600)
        file.write_bytes(made.stdout)
    return file


async def serve(*, tls: bool) -> None:
    """Prints the address, then serves until standard input ends, so that it exits with its parent."""
    loop = asyncio.get_running_loop()
    service = Service(loop)
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024)
    control = "http://{}:{}".format(*server.sockets[0].getsockname())
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate())
        server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024, ssl=context)
        print(control, "https://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    else:
        print(control, control, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serves on the fastest loop: only the clients are measured."""
    with asyncio.Runner(loop_factory=fastest_loop_factory()) as runner:
        runner.run(serve(tls="tls" in sys.argv))


if __name__ == "__main__":
    main()
