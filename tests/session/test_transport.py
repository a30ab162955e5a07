"""The conversion of aiohttp's errors, and the aiohttp features that must stay off."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import importlib
import inspect
import pkgutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

import rivya_async
from rivya_async import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    OutcomeUnknownError,
    RequestNotSentError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    Timeouts,
)
from rivya_async._core.config import Config
from rivya_async._core.http.messages import Request
from rivya_async._engine.http.aiohttp_errors import AIOHTTP_ERRORS, convert_error
from rivya_async._engine.http.aiohttp_transport import AiohttpTransport
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import (
    CREDITS,
    POLL,
    SUBMIT,
    ReceivedRequest,
    RecordingHooks,
    open_session,
    plain_server,
    raw_server,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("each_transport")

# --- the table --------------------------------------------------------------------------------------------------------

NOTHING_LEFT = {
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ClientConnectorSSLError",
    "ClientConnectorCertificateError",
    "ClientHttpProxyError",
    "ClientProxyConnectionError",
    "ClientSSLError",
    "UnixClientConnectorError",
    "ConnectionTimeoutError",
}
NOT_A_URL = {"InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError"}
IN_DOWNLOADS_ONLY = {"InvalidUrlRedirectClientError", "NonHttpUrlRedirectClientError"}


def errors_of_aiohttp() -> list[type[Exception]]:
    """Returns every exception class of aiohttp's client."""
    found = set()
    for module in pkgutil.iter_modules(aiohttp.__path__):
        if module.name in {"worker", "pytest_plugin", "test_utils"}:  # need gunicorn or pytest
            continue
        for value in vars(importlib.import_module(f"aiohttp.{module.name}")).values():
            if inspect.isclass(value) and issubclass(value, aiohttp.ClientError):
                found.add(value)
    return sorted(found, key=lambda kind: kind.__name__)


def made(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    for name in ("_conn_key", "_os_error", "_certificate_error", "_path", "status"):
        try:
            setattr(error, name, None)
        except AttributeError:
            continue
    return error


class Silent(Exception):
    """An exception without a message."""


@pytest.mark.parametrize("kind", errors_of_aiohttp(), ids=lambda kind: kind.__name__)
def test_converts_every_aiohttp_error(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "__str__", lambda _: "detail")
    monkeypatch.setattr(kind, "message", "detail", raising=False)
    ours = type(convert_error(made(kind), URL("https://rivya.ai/api/v1/generations")))
    if kind.__name__ in NOTHING_LEFT:
        assert ours is RequestNotSentError
    elif kind.__name__ in NOT_A_URL | IN_DOWNLOADS_ONLY:
        assert ours is ConfigurationError
    else:
        assert ours is OutcomeUnknownError
    assert issubclass(kind, AIOHTTP_ERRORS)


def test_table_covers_common_errors() -> None:
    assert {kind.__name__ for kind in errors_of_aiohttp()} >= NOTHING_LEFT | NOT_A_URL | {
        "ServerDisconnectedError",
        "ClientOSError",
        "ClientConnectionResetError",
        "ClientPayloadError",
        "ServerTimeoutError",
        "SocketTimeoutError",
        "ClientResponseError",
        "WSServerHandshakeError",
    }


@pytest.mark.parametrize(
    "error", [OSError("x"), TimeoutError(), ConnectionResetError(), BrokenPipeError(), ssl.SSLError("x")], ids=repr
)
def test_plain_os_error_is_ambiguous(error: Exception) -> None:
    assert type(convert_error(error, URL("https://rivya.ai/"))) is OutcomeUnknownError


def test_unexpected_error_is_ambiguous() -> None:
    assert type(convert_error(Silent(), URL("https://rivya.ai/"))) is OutcomeUnknownError


def test_messages_hide_query() -> None:
    error = convert_error(aiohttp.ClientOSError("gone"), URL("https://cdn.example/a.png?signature=secret#secret"))
    assert "secret" not in str(error)
    assert "https://cdn.example/a.png" in str(error)


# --- a kept-alive connection that was closed --------------------------------------------------------------------------

CALLS: dict[str, tuple[str, Callable[[RivyaSession], Any]]] = {
    "a GET": (CREDITS, lambda s: s.credits.retrieve()),
    "the catalogue": ("GET /api/v1/models", lambda s: s.models.list()),
    "a POST": (SUBMIT, lambda s: s.submit("z-image", "A red kite")),
    "a read": (POLL, lambda s: s.generations.retrieve("task_1")),
    "a poll": (POLL, lambda s: s.wait_for("task_1")),
}


@asynccontextmanager
async def user_http_session(kind: str) -> AsyncIterator[aiohttp.ClientSession | None]:
    """Yields a user's `aiohttp.ClientSession`, or None."""
    if kind == "our own":
        yield None
        return
    async with aiohttp.ClientSession() as http:
        yield http


WHOSE = pytest.mark.parametrize("whose", ["our own", "handed in"])


@WHOSE
@pytest.mark.parametrize("name", CALLS)
async def test_aiohttp_does_not_retry(sandbox: Sandbox, name: str, whose: str) -> None:
    route, call = CALLS[name]
    hooks = RecordingHooks()
    async with user_http_session(whose) as http, open_session(sandbox, hooks=[hooks], http=http) as session:
        await session.credits.retrieve()  # so that there is a kept-alive connection
        before = sandbox.request_log.count()
        counted = len(hooks.attempts)
        sandbox.faults.add(route=route, drop=True, times=1)
        with contextlib.suppress(NotFoundError):  # an unknown task
            await call(session)
        assert sandbox.request_log.count() - before == len(hooks.attempts) - counted == 2
        assert isinstance(hooks.attempts[counted].error, OutcomeUnknownError)
    assert max(sandbox.request_log.purchases_by_key.values(), default=0) <= 1


@WHOSE
@pytest.mark.parametrize("name", CALLS)
async def test_server_closes_idle_connection(name: str, whose: str, each_transport: str) -> None:
    """The server closes the connection while the request is in flight: it was sent and gets no response."""
    if each_transport == "fast" and name == "the catalogue":
        pytest.skip("the catalogue is read over aiohttp, whose connections are others")
    requests: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            number += 1
            requests.append(head.split(b"\r\n")[0])
            if number == 2:
                writer.transport.abort()
                return
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")), 0)
            await reader.readexactly(length)
            answer = b'{"id": "task_1", "status": "succeeded", "model": "m", "current_credits": 1, "data": []}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
            await writer.drain()

    _, call = CALLS[name]
    hooks = RecordingHooks()
    async with (
        user_http_session(whose) as http,
        raw_server(talk) as url,
        Sandbox() as sandbox,
        open_session(sandbox, base_url=url, hooks=[hooks], http=http) as session,
    ):
        await session.credits.retrieve()
        await call(session)
    assert len(requests) == len(hooks.attempts) == 3


async def test_closed_idle_connection_costs_no_attempt(sandbox: Sandbox, session: RivyaSession) -> None:
    await session.submit("z-image", "A red kite")
    assert sandbox._server is not None
    for connection in list(sandbox._server.connections):
        assert connection.transport is not None
        connection.transport.abort()
    await session.submit("z-image", "A blue whale")
    assert sandbox.request_log.purchases == 2
    assert max(sandbox.request_log.purchases_by_key.values()) == 1


# --- headers ----------------------------------------------------------------------------------------------------------


@WHOSE
async def test_sent_headers(sandbox: Sandbox, whose: str) -> None:
    async with (
        user_http_session(whose) as http,
        plain_server() as server,
        open_session(sandbox, base_url=server.url, http=http) as session,
    ):
        for call in (session.submit("m", "p", idempotency_key="order-1"), session.credits.retrieve()):
            with contextlib.suppress(RivyaError):
                await call
        purchase, read = ([*server.requests[index].headers.items()] for index in (0, -1))
    always = {
        ("Host", server.url.removeprefix("http://")),
        ("Accept", "application/json"),
        ("User-Agent", f"rivya-async/{rivya_async.__version__}"),
        ("Authorization", f"Bearer {sandbox.api_key}"),
    }
    body = {("Content-Type", "application/json"), ("Content-Length", str(len(server.requests[0].body)))}
    assert {header for header in read if header[0] != "Accept-Encoding"} == always
    assert {header for header in purchase if header[0] != "Accept-Encoding"} == (
        always | body | {("Idempotency-Key", "order-1")}
    )
    assert (len(read), len(purchase)) == (5, 8)  # none twice


async def test_requests_identity_encoding(sandbox: Sandbox) -> None:
    async with plain_server() as server, open_session(sandbox, base_url=server.url) as session:
        for call in (session.credits.retrieve(), session.models.list()):
            with contextlib.suppress(RivyaError):
                await call
        small, catalogue = (seen.headers["Accept-Encoding"] for seen in server.requests)
    assert small == "identity"
    assert "gzip" in catalogue


# --- time-outs --------------------------------------------------------------------------------------------------------

ONCE = RetryPolicy(max_attempts=1)
BALANCE = b'{"current_credits": 7}'


@asynccontextmanager
async def dripping(*pauses: float) -> AsyncIterator[str]:
    """Runs a server that pauses before its headers and before each chunk, then stalls."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        step = -(-len(BALANCE) // (len(pauses) - 1))
        pieces = [BALANCE[at : at + step] for at in range(0, len(BALANCE), step)]
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BALANCE)
        for pause, piece in zip(pauses, [head, *pieces], strict=True):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), pause)
                return  # the client has gone
            writer.write(piece)
        await reader.read()

    async with raw_server(talk) as url:
        yield url


@WHOSE
async def test_slow_chunks_within_read_timeout(sandbox: Sandbox, whose: str) -> None:
    limits = Timeouts(read=0.4, total=10.0)
    async with (
        user_http_session(whose) as http,
        dripping(0.15, 0.15, 0.15, 0.15) as url,
        open_session(sandbox, base_url=url, http=http, timeouts=limits, retry=ONCE) as session,
    ):
        assert (await session.credits.retrieve()).current_credits == 7


@WHOSE
@pytest.mark.parametrize("pauses", [(60.0, 0.0), (0.0, 60.0), (0.0, 0.0, 60.0)], ids=["head", "body", "rest"])
async def test_stalled_response_times_out(sandbox: Sandbox, pauses: tuple[float, ...], whose: str) -> None:
    limits = Timeouts(read=0.1, total=30.0)
    async with (
        user_http_session(whose) as http,
        dripping(*pauses) as url,
        open_session(sandbox, base_url=url, http=http, timeouts=limits, retry=ONCE) as session,
        asyncio.timeout(5),
    ):
        with pytest.raises(OutcomeUnknownError, match="too long"):
            await session.credits.retrieve()


@pytest.mark.filterwarnings("ignore:Sending a large body")  # more than the kernel takes in advance
async def test_read_timeout_starts_after_request_is_written(sandbox: Sandbox) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    limits = Timeouts(read=0.1, total=30.0)
    async with raw_server(talk) as url:
        transport = AiohttpTransport(Config(sandbox.api_key, url), limits, None)
        async with contextlib.aclosing(transport):
            answer = await transport.send(Request("POST", "/api/v1/generations", body=b" " * 20_000_000))
    assert answer.body == b"{}"


@WHOSE
async def test_cancelled_request_closes_connection(sandbox: Sandbox, whose: str) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()

    async with (
        user_http_session(whose) as http,
        raw_server(talk) as url,
        open_session(sandbox, base_url=url, http=http) as session,
        asyncio.timeout(5),
    ):
        call = asyncio.create_task(session.credits.retrieve())
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await gone.wait()


async def test_silent_name_server_is_a_connect_error(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(*_: Any, **__: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", for_ever)
    limits = Timeouts(connect=0.1, read=30.0, total=30.0)
    async with open_session(sandbox, base_url="https://rivya.invalid", timeouts=limits, retry=ONCE) as session:
        with pytest.raises(RequestNotSentError, match="too long"):
            await session.submit("z-image", "A red kite")


@WHOSE
async def test_protocol_switch_closes_connection(sandbox: Sandbox, whose: str) -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
        await reader.read()
        gone.set()

    async with (
        user_http_session(whose) as http,
        raw_server(talk) as url,
        open_session(sandbox, base_url=url, http=http) as session,
        asyncio.timeout(5),
    ):
        with pytest.raises(APIStatusError) as caught:
            await session.credits.retrieve()
        assert caught.value.status == 101
        await gone.wait()


# --- a session of aiohttp that was handed in ------------------------------------------------------------------------


async def test_user_http_session_stays_open(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as http:
        async with plain_server() as server, RivyaSession(sandbox.api_key, base_url=server.url, http=http) as session:
            with pytest.raises(RivyaError):
                await session.credits.retrieve()
            assert server.requests[0].headers["X-Mine"] == "1"
        assert not http.closed
        async with open_session(sandbox, http=http) as session:
            assert (await session.generate("z-image", "A red kite")).succeeded
        assert not http.closed


async def test_user_http_session_options_do_not_change_errors(sandbox: Sandbox, hooks: RecordingHooks) -> None:
    async with aiohttp.ClientSession("https://else.example/base/", raise_for_status=True) as http:
        async with RivyaSession("rvya_sk_wrong", base_url=sandbox.base_url, http=http, hooks=[hooks]) as session:
            with pytest.raises(AuthenticationError):
                await session.submit("z-image", "A red kite")
            assert len(hooks.attempts) == 1
        async with open_session(sandbox, http=http) as session:
            sandbox.faults.add(route=SUBMIT, status=502, times=1)
            assert (await session.generate("z-image", "A red kite")).succeeded


async def test_user_http_session_decompresses(sandbox: Sandbox) -> None:
    def packed(_: ReceivedRequest) -> web.Response:
        response = web.json_response({"current_credits": 7})
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with (
        plain_server(packed) as server,
        aiohttp.ClientSession(auto_decompress=False) as http,
        open_session(sandbox, base_url=server.url, http=http) as session,
    ):
        assert (await session.credits.retrieve()).current_credits == 7


async def test_rejects_closed_http_session(sandbox: Sandbox) -> None:
    http = aiohttp.ClientSession()
    await http.close()
    async with open_session(sandbox, http=http) as session:
        with pytest.raises(RivyaError, match="closed"):
            await session.submit("z-image", "A red kite")
        with pytest.raises(RivyaError, match="closed"):
            await session.download(f"{sandbox.base_url}/results/1/0.png", "out/")


async def test_limits_decompressed_size(sandbox: Sandbox) -> None:
    """A small response that decompresses to more than the limit is rejected."""
    bomb = gzip.compress(b'{"current_credits": "' + b"x" * 80_000_000)

    def packed(_: ReceivedRequest) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"}, content_type="application/json")

    async with plain_server(packed) as server, open_session(sandbox, base_url=server.url) as session:
        with pytest.raises(RivyaError, match="longer"):
            await session.credits.retrieve()


async def test_keeps_no_cookies(sandbox: Sandbox) -> None:
    def sticky(_: ReceivedRequest) -> web.Response:
        response = web.json_response({"current_credits": 7})
        response.set_cookie("session", "1")
        return response

    async with plain_server(sticky) as server, open_session(sandbox, base_url=server.url) as session:
        await session.credits.retrieve()
        await session.credits.retrieve()
        assert all("Cookie" not in seen.headers for seen in server.requests)


async def test_reuses_and_limits_connections(sandbox: Sandbox) -> None:
    async with open_session(sandbox, max_connections=5) as session:
        await asyncio.gather(*(session.credits.retrieve() for _ in range(200)))
        assert sandbox._server is not None
        server = sandbox._server
        assert len(server.connections) <= 5
        assert sandbox.request_log.peak_in_flight <= 5
    await wait_until(lambda: not server.connections)
