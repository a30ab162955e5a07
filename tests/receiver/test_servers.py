"""The receiver behind real servers, over sockets: all apps behave the same."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from rivya_async import WebhookEvent
from rivya_async.receiver import WebhookReceiver
from tests.receiver.receiver_kit import RecordingHandler, make_body, make_receiver, sign, sleeping_handler
from tests.session.session_kit import wait_until

MAX_BODY_SIZE: Final = 5_000


@asynccontextmanager
async def uvicorn_at(app: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(app, lifespan="on", log_config=None, ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await wait_until(lambda: server.started or serving.done())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


@asynccontextmanager
async def aiohttp_at(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, lingering_time=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asgi_alone(receiver: WebhookReceiver) -> AsyncIterator[str]:
    async with uvicorn_at(receiver.asgi_app()) as url:
        yield f"{url}/anywhere"


@asynccontextmanager
async def starlette_route(receiver: WebhookReceiver) -> AsyncIterator[str]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with receiver:
            yield

    routes = [Route("/hooks/rivya", receiver.asgi_app())]
    async with uvicorn_at(Starlette(routes=routes, lifespan=lifespan)) as url:
        yield f"{url}/hooks/rivya"


@asynccontextmanager
async def starlette_mount(receiver: WebhookReceiver) -> AsyncIterator[str]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with receiver:
            yield

    routes = [Mount("/hooks", receiver.asgi_app())]
    async with uvicorn_at(Starlette(routes=routes, lifespan=lifespan)) as url:
        yield f"{url}/hooks/"


@asynccontextmanager
async def fastapi_mount(receiver: WebhookReceiver) -> AsyncIterator[str]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with receiver:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/hooks", receiver.asgi_app())
    async with uvicorn_at(app) as url:
        yield f"{url}/hooks/rivya"


@asynccontextmanager
async def aiohttp_alone(receiver: WebhookReceiver) -> AsyncIterator[str]:
    async with aiohttp_at(receiver.aiohttp_app()) as url:
        yield f"{url}/anywhere"


@asynccontextmanager
async def aiohttp_subapp(receiver: WebhookReceiver) -> AsyncIterator[str]:
    app = web.Application()
    app.add_subapp("/hooks", receiver.aiohttp_app())
    async with aiohttp_at(app) as url:
        yield f"{url}/hooks"


SERVERS: Final = [asgi_alone, starlette_route, starlette_mount, fastapi_mount, aiohttp_alone, aiohttp_subapp]
Serving = Callable[[WebhookReceiver], contextlib.AbstractAsyncContextManager[str]]
servers = pytest.mark.parametrize("serving", SERVERS, ids=lambda serving: serving.__name__)
two_servers = pytest.mark.parametrize("serving", [asgi_alone, aiohttp_alone], ids=["asgi", "aiohttp"])


@asynccontextmanager
async def http_client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client like the service's: each delivery on a new connection."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        yield http


async def post(http: aiohttp.ClientSession, url: str, body: Any, headers: Any) -> tuple[int, str]:
    async with http.post(url, data=body, headers=headers, allow_redirects=False) as response:
        return response.status, await response.text()


@servers
async def test_delivery_over_a_socket(serving: Serving) -> None:
    handler = RecordingHandler()
    receiver = make_receiver(handler, max_body_size=MAX_BODY_SIZE)
    async with serving(receiver) as url, http_client() as http:
        body = make_body(prompt="é ☃")
        assert await post(http, url, body, sign(body)) == (200, "handled")
        assert await post(http, url, body, sign(body)) == (200, "handled before")
        assert (await post(http, url, body + b" ", sign(body)))[0] == 400
        assert (await post(http, url, body, {}))[0] == 400
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            async with http.request(method, url) as response:
                assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert handler.finished == ["evt_1"]
    assert (await receiver.receive(body, sign(body))).status == 503  # the server has closed it


@two_servers
async def test_stops_reading_a_large_body(serving: Serving) -> None:
    async with serving(make_receiver(RecordingHandler(), max_body_size=MAX_BODY_SIZE)) as url, http_client() as http:
        body = make_body(junk="x" * MAX_BODY_SIZE)
        assert (await post(http, url, body, sign(body)))[0] == 413

        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 500_000_000:
                sent += 100_000
                yield b"x" * 100_000

        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            assert (await post(http, url, endless(), sign(body)))[0] == 413
        assert sent < 100_000_000


@two_servers
async def test_body_timeout(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.receiver.protocol.BODY_TIMEOUT", 0.05)
    async with serving(make_receiver(RecordingHandler())) as url:
        response = await exchange_bytes(
            url, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\nabc"
        )
    assert response.startswith(b"HTTP/1.1 408")


@two_servers
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 100\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    ],
    ids=["short", "cut in a chunk", "bad chunk"],
)
async def test_client_disconnects(serving: Serving, head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    handler = RecordingHandler()
    async with serving(make_receiver(handler)) as url:
        response = await exchange_bytes(url, b"POST / HTTP/1.1\r\nHost: x\r\n" + head, disconnects=True)
        assert not response or b" 400 " in response[:20]
        async with http_client() as http:  # the server continues
            assert (await post(http, url, make_body(), sign(make_body())))[0] == 200
    assert handler.finished == ["evt_1"]
    assert "rivya_async" not in caplog.text


async def exchange_bytes(url: str, request: bytes, *, disconnects: bool = False) -> bytes:
    """Sends raw bytes and returns the start of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].partition("/")[0]))
    writer.write(request)
    await writer.drain()
    if disconnects:
        writer.write_eof()
        await asyncio.sleep(0.02)
        writer.close()
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            response = await reader.read(1_000)
    writer.close()
    return response


@two_servers
@pytest.mark.parametrize(
    "lines",
    [
        b"Rivya-Signature: t=\xff\xfe,v1=\xff\r\n",
        b"Rivya-Signature: t=1,v1=00\r\nRivya-Signature: t=1,v1=00\r\n",
        b"Rivya-Signature: \r\n",
        b"",
    ],
    ids=["not text", "twice", "blank", "none"],
)
async def test_malformed_signature_header(serving: Serving, lines: bytes) -> None:
    async with serving(make_receiver(RecordingHandler())) as url:
        response = await exchange_bytes(
            url, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + lines + b"Content-Length: 2\r\n\r\n{}"
        )
    assert response.startswith(b"HTTP/1.1 400")


@two_servers
async def test_decompression_bomb(serving: Serving) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with serving(make_receiver(RecordingHandler(), max_body_size=MAX_BODY_SIZE)) as url, http_client() as http:
        status, _ = await post(http, url, bomb[:MAX_BODY_SIZE], {"Content-Encoding": "gzip"})
    assert status in {400, 413}


@two_servers
async def test_graceful_shutdown(serving: Serving) -> None:
    handler = sleeping_handler(0.3)
    receiver = make_receiver(handler, response_timeout=0.01)
    async with serving(receiver) as url, http_client() as http:
        assert (await post(http, url, make_body(), sign(make_body())))[0] == 202
    assert handler.finished == ["evt_1"]


async def test_parent_app_cleans_up_after_handlers() -> None:
    events: list[str] = []

    async def resource(app: web.Application) -> AsyncIterator[None]:
        yield
        events.append("resource closed")

    async def handle(event: WebhookEvent) -> None:
        await asyncio.sleep(0.2)
        events.append("handled")

    app = web.Application()
    app.cleanup_ctx.append(resource)
    app.add_subapp("/hooks", make_receiver(handle, response_timeout=0.01).aiohttp_app())
    async with aiohttp_at(app) as url, http_client() as http:
        assert (await post(http, f"{url}/hooks", make_body(), sign(make_body())))[0] == 202
    assert events == ["handled", "resource closed"]


@pytest.mark.parametrize("disconnects", [False, True])
async def test_asgi_body_chunks(disconnects: bool) -> None:
    handler = RecordingHandler()
    body = make_body()
    last = {"type": "http.disconnect"} if disconnects else {"type": "http.request", "body": body[9:]}
    chunks = [b"", body[:4], b"", body[4:9]]
    messages = [*({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks), last]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in sign(body).items()]
    await make_receiver(handler).asgi_app()({"type": "http", "method": "POST", "headers": headers}, receive, send)
    assert [message.get("status") for message in sent] == ([] if disconnects else [200, None])
    assert handler.finished == ([] if disconnects else ["evt_1"])


async def test_rejects_other_asgi_scopes() -> None:
    app = make_receiver(RecordingHandler()).asgi_app()

    async def unused(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(ValueError, match="webtransport"):
        await app({"type": "webtransport"}, unused, unused)
