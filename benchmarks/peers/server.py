"""All services on one local server of raw HTTP/1.1, one at a time, so fast that it is never the bottleneck.

`GET /begin?dialect=fal&polls=3&faults=0` forgets everything and says who is spoken to, `GET /progress` tells what has
been bought and has ended, `GET /tally` tells all counts. A second port speaks TLS, for SDKs that speak nothing else.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import ssl
import sys
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

import attrs

from ..event_loop import fastest
from ..server import CONTENT_LENGTH, HEAD
from .books import Books, Seen
from .dialects import DIALECTS, Dialect

BACKLOG: Final = 16_384
TASK: Final = re.compile(rb"task_(\d+)")
ORDER: Final = re.compile(rb"order (\d+)")
KEY: Final = re.compile(rb"\r\nidempotency-key: *([^\r]+)", re.IGNORECASE)
NOT_FOUND: Final = b'{"error":{"code":"not_found","message":"There is no such thing."}}'
GATEWAY_PAGE: Final = b"<html><body><center><h1>503 Service Unavailable</h1></center><hr>nginx</body></html>"
GATEWAY_ANSWER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
) % (len(GATEWAY_PAGE), GATEWAY_PAGE)
"""What a gateway in front of a service says: some SDKs repeat a 503 only when it comes from one."""


class Service:
    """Answers of one dialect out of one set of books."""

    def __init__(self) -> None:
        self.url = b""
        self.begin("rivya", polls=1, faults=False)

    def begin(self, dialect: str, *, polls: int, faults: bool) -> None:
        """Forget everything and speak like this service."""
        self.books = Books(polls=polls, faults=faults)
        spoken = DIALECTS[dialect]
        self._dialect = Dialect(
            **{
                field.name: body and body.replace(b"URL", self.url)
                for field in attrs.fields(Dialect)
                for body in [getattr(spoken, field.name)]
            }
        )

    def answer(self, target: bytes, head: bytes, body: bytes) -> bytes | None:
        """The answer to a request, known by what it names: an order, or a task; None where the connection breaks."""
        if order := ORDER.search(body):
            self.books.requests += 1
            return self._submit(int(order[1]), KEY.search(head))
        if task := TASK.search(target) or TASK.search(body):
            self.books.requests += 1
            return self._poll(task, target)
        return self._told(target)

    def _submit(self, order: int, key: re.Match[bytes] | None) -> bytes | None:
        number, lost = self.books.submit(order, key[1] if key else None)
        return None if lost else _ok(self._dialect.submitted, b"task_%08d" % number)

    def _poll(self, task: re.Match[bytes], target: bytes) -> bytes:
        if self._dialect.result is not None and b"/status" not in target:
            return _ok(self._dialect.result, task[0])
        match self.books.poll(int(task[1])):
            case Seen.WAITING:
                return _ok(self._dialect.waiting, task[0])
            case Seen.ENDED:
                return _ok(self._dialect.ended, task[0])
            case Seen.UNAVAILABLE:
                return GATEWAY_ANSWER
            case Seen.UNKNOWN:
                return _answer(b"404 Not Found", NOT_FOUND)

    def _told(self, target: bytes) -> bytes:
        url = urlsplit(target.decode())
        match url.path:
            case "/begin":
                asked = parse_qs(url.query)
                self.begin(asked["dialect"][0], polls=int(asked["polls"][0]), faults=asked["faults"] == ["1"])
                told: dict[str, int] = {}
            case "/progress":
                told = {"purchases": self.books.purchases, "ended": self.books.ended}
            case "/tally":
                told = attrs.asdict(self.books.tally())
            case _:
                return _answer(b"404 Not Found", NOT_FOUND)
        return _answer(b"200 OK", json.dumps(told).encode())


def _ok(body: bytes, task: bytes) -> bytes:
    return _answer(b"200 OK", body.replace(b"TASK", task))


def _answer(status: bytes, body: bytes) -> bytes:
    return HEAD % (status, len(body), body)


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
            if len(unread) < whole or self._transport is None:
                break
            head = unread[:end]
            _, target, _ = head[: head.find(b"\r\n")].split(b" ", 2)
            answer = self._service.answer(target, head, unread[end + 4 : whole])
            unread = unread[whole:]
            if answer is None:
                self._transport.close()
                break
            self._transport.write(answer)
        self._unread = unread


async def serve(certificate: str, key: str) -> None:
    """Print both addresses, then serve until standard input ends: the server does not outlive who started it."""
    loop = asyncio.get_running_loop()
    service = Service()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.num_tickets = 0  # a ticket that lies unread makes httpx take a connection for closed: spare it that
    listening = [
        await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=BACKLOG, ssl=context)
        for context in (None, tls)
    ]
    plain, secure = ("{}:{}".format(*server.sockets[0].getsockname()) for server in listening)
    service.url = f"https://{secure}".encode()
    print(plain, secure, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Arguments: the certificate and its key. Serve on the fastest loop: only the clients are measured."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with asyncio.Runner(loop_factory=fastest()) as runner:
        runner.run(serve(*sys.argv[1:3]))


if __name__ == "__main__":
    main()
