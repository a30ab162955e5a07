"""The parser of the fast transport: valid, invalid and hostile responses, and the reuse of their connections."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async import ConfigurationError, OutcomeUnknownError, RequestNotSentError, ResponseDecodeError, Timeouts
from rivya_async._core.config import Config
from rivya_async._core.http.messages import Request, RequestOptions
from rivya_async._engine.http.aiohttp_transport import AiohttpTransport
from rivya_async._engine.http.transport import Transport
from rivya_async._engine.http.watchdog import NO_TIMEOUT, TimeoutScope, Watchdog

pytest.importorskip("httptools")

from rivya_async._engine.http import fast_transport
from rivya_async._engine.http.fast_connection import FastConnection
from rivya_async._engine.http.fast_transport import FastTransport

OK: Final = b"HTTP/1.1 200 OK\r\n"
READ: Final = Request("GET", "/api/v1/credits")
LIMIT: Final = 1000
KEY: Final = "rvya_sk_test"


# --- answers of a server ----------------------------------------------------------------------------------------------


@attrs.frozen
class Answer:
    """Bytes of a server, and their effect: the status and the body, or an error class."""

    data: bytes
    result: tuple[int, bytes] | type[Exception]
    is_reused: bool | None = False
    """True if the next request must use the same connection, False if it must not."""
    closes: bool = False
    """True if the server closes the connection after the bytes."""


def sized(body: bytes, headers: bytes = b"") -> bytes:
    return OK + headers + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


ANSWERS: Final = {
    "length": Answer(sized(b"{}"), (200, b"{}"), is_reused=True),
    "no reason": Answer(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", (200, b"{}"), is_reused=True),
    "chunks": Answer(
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        (200, b"{}"),
        is_reused=True,
    ),
    "204": Answer(b"HTTP/1.1 204 No Content\r\n\r\n", (204, b""), is_reused=True),
    "304 with a length": Answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, b""), is_reused=True),
    "redirect": Answer(
        b"HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", (302, b""), is_reused=True
    ),
    "100 first": Answer(b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"{}"), (200, b"{}"), is_reused=True),
    "103 first": Answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + sized(b"{}"), (200, b"{}"), is_reused=True),
    "Connection: close": Answer(sized(b"{}", b"Connection: close\r\n"), (200, b"{}")),
    "HTTP/1.0": Answer(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", (200, b"{}")),
    "until the end": Answer(OK + b"\r\n{}", (200, b"{}"), closes=True),
    "gzip that was not accepted": Answer(
        sized(gzip.compress(b"{}"), b"Content-Encoding: gzip\r\n"), (200, b"{}"), is_reused=True
    ),
    "bad gzip": Answer(sized(b"{}", b"Content-Encoding: gzip\r\n"), OutcomeUnknownError, is_reused=None),
    "body over the limit": Answer(sized(b"x" * (LIMIT + 1)), ResponseDecodeError, is_reused=None),
    "gzip over the limit": Answer(
        sized(gzip.compress(b"x" * (LIMIT + 1)), b"Content-Encoding: gzip\r\n"), ResponseDecodeError, is_reused=None
    ),
    "second response": Answer(sized(b"{}") + sized(b"[]"), (200, b"{}")),
    "half a length": Answer(OK + b"Content-Length: 9\r\n\r\n{}", OutcomeUnknownError, closes=True),
    "half a chunk": Answer(OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}", OutcomeUnknownError, closes=True),
    "half the headers": Answer(OK + b"Content-Le", OutcomeUnknownError, closes=True),
    "nothing": Answer(b"", OutcomeUnknownError, closes=True),
    "length and chunks": Answer(
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", OutcomeUnknownError
    ),
    "two lengths": Answer(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", OutcomeUnknownError),
    "negative length": Answer(OK + b"Content-Length: -2\r\n\r\n{}", OutcomeUnknownError),
    "no HTTP": Answer(b"<html></html>\r\n\r\n", OutcomeUnknownError),
    "bad chunk": Answer(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", OutcomeUnknownError),
    "null in a header": Answer(OK + b"X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}", OutcomeUnknownError),
    "long header": Answer(OK + b"X-A: %b\r\nContent-Length: 2\r\n\r\n{}" % (b"a" * 70_000), OutcomeUnknownError),
    "header of 60,000 bytes": Answer(
        OK + b"X-A: %b\r\nContent-Length: 2\r\n\r\n{}" % (b"a" * 60_000), (200, b"{}"), is_reused=True
    ),
}

ONLY_FAST: Final = {
    # aiohttp rejects the first, bounds none of the next three, and may decode the last.
    "bytes after the response": Answer(sized(b"{}") + b"junk", (200, b"{}")),
    "headers without end": Answer(OK + b"X-A: %b" % (b"a" * 400_000), OutcomeUnknownError),
    "informational responses without end": Answer(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, OutcomeUnknownError),
    "chunk extension without end": Answer(
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;%b" % (b"a" * 400_000), OutcomeUnknownError
    ),
    "200 headers": Answer(OK + b"X-A: a\r\n" * 200 + b"Content-Length: 2\r\n\r\n{}", OutcomeUnknownError),
    "unsupported encoding": Answer(sized(b"{}", b"Content-Encoding: br\r\n"), OutcomeUnknownError, is_reused=True),
}

CASES: Final = [
    *(
        pytest.param(kind, answer, id=f"{name}-{kind}")
        for kind in ("aiohttp", "fast")
        for name, answer in ANSWERS.items()
    ),
    *(pytest.param("fast", answer, id=name) for name, answer in ONLY_FAST.items()),
]


class Server:
    """A server that sends the same bytes for each request, and counts connections and requests."""

    def __init__(self, answer: bytes, *, closes: bool = False) -> None:
        self.url = ""
        self.connections = 0
        self.heads: list[bytes] = []
        self.answer = answer
        self.closes = closes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                await writer.drain()
                if self.closes:
                    break
        writer.close()


@asynccontextmanager
async def running(server: Server, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    listening = await asyncio.start_server(server.serve, host, 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        server.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        yield server


def open_transport(
    kind: str, url: str, timeouts: Timeouts | None = None, headers: Mapping[str, str] | None = None
) -> AiohttpTransport:
    config = Config(KEY, url, headers or {})
    if kind == "fast":
        return FastTransport(config, timeouts or Timeouts(), trust_env=False, ssl=True)
    return AiohttpTransport(config, timeouts or Timeouts(), None)


async def outcome(transport: Transport, request: Request) -> tuple[int, bytes] | type[Exception]:
    try:
        response = await transport.send(request)
    except (OutcomeUnknownError, RequestNotSentError, ResponseDecodeError, ConfigurationError) as error:
        return type(error)
    return response.status, response.body


@pytest.mark.parametrize(("kind", "answer"), CASES)
async def test_answer(kind: str, answer: Answer) -> None:
    request = attrs.evolve(READ, max_response_bytes=LIMIT)
    async with (
        running(Server(answer.data, closes=answer.closes)) as server,
        aclosing(open_transport(kind, server.url)) as transport,
        asyncio.timeout(30),
    ):
        assert [await outcome(transport, request) for _ in range(2)] == [answer.result] * 2
        assert len(server.heads) == 2  # no transport repeats a request
        if answer.is_reused is not None:
            assert server.connections == (1 if answer.is_reused else 2)


async def test_unsolicited_bytes_close_idle_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response without a request never answers the next request."""
    writers: list[asyncio.StreamWriter] = []
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(sized(b"{}"))
            await reader.readuntil(b"\r\n\r\n")
        gone.set()
        writer.close()

    server = Server(b"")
    monkeypatch.setattr(server, "serve", serve)
    async with (
        running(server),
        aclosing(open_transport("fast", server.url)) as transport,
        asyncio.timeout(30),
    ):
        assert await outcome(transport, READ) == (200, b"{}")
        writers[0].write(sized(b"stolen"))
        await gone.wait()
        assert await outcome(transport, READ) == (200, b"{}")
        assert len(writers) == 2


# --- requests ---------------------------------------------------------------------------------------------------------

REQUESTS: Final = {
    "read": READ,
    "query": Request("GET", "/api/v1/models?page=2&q=a%20b"),
    "purchase": Request("POST", "/api/v1/generations", b'{"model":"m"}', idempotency_key="order-1"),
    "delete": Request("DELETE", "/api/v1/webhooks/1"),
    "empty body": Request("POST", "/api/v1/webhooks", b""),
    "other Accept": Request("GET", "/api/v1/openapi.json", accept="text/event-stream"),
    "view": Request("GET", "/api/v1/credits", options=RequestOptions({"X-Mine": "2", "X-Other": "ä"})),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("prefix", ["", "/proxy/rivya"])
async def test_requests_equal_those_of_aiohttp(request_: Request, prefix: str) -> None:
    heads: list[list[bytes]] = []
    for kind in ("aiohttp", "fast"):
        async with (
            running(Server(sized(b"{}"), closes=True)) as server,
            aclosing(open_transport(kind, server.url + prefix, headers={"X-Mine": "1"})) as transport,
        ):
            assert await outcome(transport, request_) == (200, b"{}")
        lines = server.heads[0].replace(server.url.removeprefix("http://").encode(), b"HOST").split(b"\r\n")
        heads.append([lines[0], *sorted(lines[1:])])
    assert heads[0] == heads[1]


@pytest.mark.parametrize("kind", ["aiohttp", "fast"])
@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/api/v1/credits\r\nX-Injected: 1"),
        Request("GET", "/api/v1/credits", options=RequestOptions({"X-A": "1\r\nX-Injected: 1"})),
        Request("POST", "/api/v1/generations", b"{}", idempotency_key="a\nX-Injected: 1"),
        Request("POST", "/api/v1/generations", b"{}", idempotency_key="a\0b"),
    ],
    ids=["path", "header", "key", "null"],
)
async def test_refuses_injected_headers(kind: str, request_: Request) -> None:
    async with running(Server(sized(b"{}"))) as server, aclosing(open_transport(kind, server.url)) as transport:
        assert await outcome(transport, request_) is ConfigurationError
        assert not any(b"Injected" in head for head in server.heads)


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["aiohttp", "fast"])
async def test_ipv6(kind: str) -> None:
    try:
        running_server = running(Server(sized(b"{}")), "::1")
        server = await running_server.__aenter__()
    except OSError:
        pytest.skip("needs IPv6")
    async with aclosing(open_transport(kind, server.url)) as transport:
        assert await outcome(transport, READ) == (200, b"{}")
    assert b"Host: [::1]:" in server.heads[0]
    await running_server.__aexit__(None, None, None)


@pytest.mark.parametrize("kind", ["aiohttp", "fast"])
async def test_refused_connection_is_not_sent(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with aclosing(open_transport(kind, f"http://127.0.0.1:{port}")) as transport:
        assert await outcome(transport, READ) is RequestNotSentError


@pytest.mark.parametrize("kind", ["aiohttp", "fast"])
async def test_invalid_host_is_a_configuration_error(kind: str) -> None:
    async with aclosing(open_transport(kind, f"https://{'a' * 70}.example")) as transport:
        assert await outcome(transport, READ) is ConfigurationError


@pytest.mark.parametrize("kind", ["aiohttp", "fast"])
async def test_stalled_tls_handshake_is_not_sent(kind: str) -> None:
    """A server that accepts the connection but does not speak TLS."""
    async with running(Server(b"")) as server:
        url, limits = server.url.replace("http://", "https://"), Timeouts(connect=0.2)
        async with aclosing(open_transport(kind, url, limits)) as transport:
            assert await outcome(transport, READ) is RequestNotSentError


@pytest.mark.parametrize("kind", ["aiohttp", "fast"])
async def test_failed_tls_handshake_is_not_sent(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = Server(b"")
    monkeypatch.setattr(server, "serve", serve)
    async with (
        running(server),
        aclosing(open_transport(kind, server.url.replace("http://", "https://"))) as transport,
    ):
        assert await outcome(transport, READ) is RequestNotSentError


async def test_long_idle_connection_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_transport, "KEEP_ALIVE", 0.0)
    async with running(Server(sized(b"{}"))) as server, aclosing(open_transport("fast", server.url)) as transport:
        await transport.send(READ)
        await transport.send(READ)
        assert server.connections == 2


def test_default_tls_context_equals_aiohttp() -> None:
    ours, theirs = (context for context in (fast_transport.ssl_context(verified=True), ssl.create_default_context()))
    assert ours.verify_mode is theirs.verify_mode is ssl.CERT_REQUIRED
    assert ours.check_hostname
    assert ours.options == theirs.options
    assert fast_transport.ssl_context(verified=False).verify_mode is ssl.CERT_NONE


# --- the parser -------------------------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """A transport in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return 0


async def receive(chunks: list[bytes], *, eof: bool) -> tuple[object, bool, bool]:
    """Passes chunks to a connection. Returns the outcome, and the states "reusable" and "aborted"."""
    wire = Wire()
    connection = FastConnection(asyncio.get_running_loop(), set())
    connection.connection_made(wire)
    with TimeoutScope(Watchdog(), NO_TIMEOUT) as scope:
        waiter = connection.begin(b"", scope, LIMIT)
        for chunk in chunks:
            if not wire.aborted:
                connection.data_received(chunk)
        reusable = connection.is_reusable
        if eof:
            connection.connection_lost(None)
    if not waiter.done():
        return None, reusable, wire.aborted
    error = waiter.exception()
    if error is not None:
        return type(error), reusable, wire.aborted
    response = waiter.result()
    return (response.status, dict(response.headers), response.body), reusable, wire.aborted


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


WHOLE: Final = st.sampled_from(
    [answer.data for answer in [*ANSWERS.values()] if len(answer.data) < 5000 and answer.data]
)
CUTS: Final = st.lists(st.integers(0, 5000), max_size=6)


@given(data=WHOLE, cuts=CUTS, eof=st.booleans())
def test_parts_of_a_response_do_not_matter(data: bytes, cuts: list[int], eof: bool) -> None:
    whole, reusable, _ = asyncio.run(receive([data], eof=eof))
    parts, parts_reusable, _ = asyncio.run(receive(split(data, cuts), eof=eof))
    assert parts == whole
    assert parts_reusable == reusable or not parts_reusable


@given(data=WHOLE, other=st.binary(max_size=40), at=st.integers(0, 5000), cuts=CUTS)
def test_changed_responses_end_or_wait(data: bytes, other: bytes, at: int, cuts: list[int]) -> None:
    """No bytes raise an error out of the protocol. At the end of the connection there is one outcome."""
    at %= len(data)
    changed = data[:at] + other + data[at + len(other) :]
    result, reusable, aborted = asyncio.run(receive(split(changed, cuts), eof=True))
    assert result is not None
    assert not (reusable and aborted)
    assert not reusable or isinstance(result, tuple)
