"""All services on one local server over raw HTTP/1.1, one at a time, fast enough never to be the bottleneck.

`GET /reset?api=fal&polls=3&faults=0` resets the state and selects the service, `GET /progress` returns
purchases and ends, `GET /tally` all counts. A second port serves TLS for SDKs that require it.
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

from ..processes import fastest_loop_factory
from ..server import CONTENT_LENGTH, HEAD
from .api_responses import API_RESPONSES, ApiResponses
from .purchase_log import PollOutcome, PurchaseLog

BACKLOG: Final = 16_384
TASK: Final = re.compile(rb"task_(\d+)")
JOB_NUMBER: Final = re.compile(rb"number (\d+)")
IDEMPOTENCY_KEY: Final = re.compile(rb"\r\nidempotency-key: *([^\r]+)", re.IGNORECASE)
NOT_FOUND: Final = b'{"error":{"code":"not_found","message":"There is no such thing."}}'
GATEWAY_PAGE: Final = b"<html><body><center><h1>503 Service Unavailable</h1></center><hr>nginx</body></html>"
GATEWAY_RESPONSE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
) % (len(GATEWAY_PAGE), GATEWAY_PAGE)
"""Response of a gateway: some SDKs retry a 503 only if it comes from one."""


class Service:
    """The responses of one service for one purchase log."""

    def __init__(self) -> None:
        self.url = b""
        self.reset("rivya", polls=1, faults=False)

    def reset(self, api: str, *, polls: int, faults: bool) -> None:
        """Resets the state and selects a service."""
        self.purchase_log = PurchaseLog(polls=polls, faults=faults)
        responses = API_RESPONSES[api]
        self._responses = ApiResponses(
            **{
                field.name: body and body.replace(b"URL", self.url)
                for field in attrs.fields(ApiResponses)
                for body in [getattr(responses, field.name)]
            }
        )

    def respond(self, target: bytes, head: bytes, body: bytes) -> bytes | None:
        """Returns the response to a submit, a poll or a control request, or None to close the connection."""
        if number := JOB_NUMBER.search(body):
            self.purchase_log.requests += 1
            return self._submit(int(number[1]), IDEMPOTENCY_KEY.search(head))
        if task := TASK.search(target) or TASK.search(body):
            self.purchase_log.requests += 1
            return self._poll(task, target)
        return self._control(target)

    def _submit(self, number: int, key: re.Match[bytes] | None) -> bytes | None:
        number, lost = self.purchase_log.submit(number, key[1] if key else None)
        return None if lost else _format_ok(self._responses.submitted, b"task_%08d" % number)

    def _poll(self, task: re.Match[bytes], target: bytes) -> bytes:
        if self._responses.result is not None and b"/status" not in target:
            return _format_ok(self._responses.result, task[0])
        match self.purchase_log.poll(int(task[1])):
            case PollOutcome.WAITING:
                return _format_ok(self._responses.waiting, task[0])
            case PollOutcome.ENDED:
                return _format_ok(self._responses.ended, task[0])
            case PollOutcome.UNAVAILABLE:
                return GATEWAY_RESPONSE
            case PollOutcome.UNKNOWN:
                return _format_response(b"404 Not Found", NOT_FOUND)

    def _control(self, target: bytes) -> bytes:
        url = urlsplit(target.decode())
        match url.path:
            case "/reset":
                query = parse_qs(url.query)
                self.reset(query["api"][0], polls=int(query["polls"][0]), faults=query["faults"] == ["1"])
                body: dict[str, int] = {}
            case "/progress":
                body = {"purchases": self.purchase_log.purchases, "ended": self.purchase_log.ended}
            case "/tally":
                body = attrs.asdict(self.purchase_log.counts())
            case _:
                return _format_response(b"404 Not Found", NOT_FOUND)
        return _format_response(b"200 OK", json.dumps(body).encode())


def _format_ok(body: bytes, task: bytes) -> bytes:
    return _format_response(b"200 OK", body.replace(b"TASK", task))


def _format_response(status: bytes, body: bytes) -> bytes:
    return HEAD % (status, len(body), body)


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
            if len(buffer) < end_of_request or self._transport is None:
                break
            head = buffer[:end]
            _, target, _ = head[: head.find(b"\r\n")].split(b" ", 2)
            respond = self._service.respond(target, head, buffer[end + 4 : end_of_request])
            buffer = buffer[end_of_request:]
            if respond is None:
                self._transport.close()
                break
            self._transport.write(respond)
        self._buffer = buffer


async def serve(certificate: str, key: str) -> None:
    """Prints both addresses, then serves until standard input ends, so that it exits with its parent."""
    loop = asyncio.get_running_loop()
    service = Service()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.num_tickets = 0  # httpx takes a connection with an unread ticket for closed
    listening = [
        await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=BACKLOG, ssl=context)
        for context in (None, tls)
    ]
    plain, secure = ("{}:{}".format(*server.sockets[0].getsockname()) for server in listening)
    service.url = f"https://{secure}".encode()
    print(plain, secure, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serves on the fastest loop: only the clients are measured. Arguments: the certificate and its key."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with asyncio.Runner(loop_factory=fastest_loop_factory()) as runner:
        runner.run(serve(*sys.argv[1:3]))


if __name__ == "__main__":
    main()
