"""The apps that serve a receiver: an ASGI app without a framework, and an app for aiohttp's server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from .protocol import INCOMPLETE_BODY, WRONG_METHOD, DeliveryHandler, WebhookResponse, respond

if TYPE_CHECKING:
    from aiohttp import web

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION: Final = 1008
"""Code that closes a websocket; before it is accepted, the server responds 403."""


class ClientDisconnected(Exception):
    """The client disconnected before its body was complete."""


def create_aiohttp_app(handler: DeliveryHandler) -> web.Application:
    """Creates an app for aiohttp that takes deliveries at every path under its own."""
    from aiohttp import web  # an ASGI server does without it

    async def receive(request: web.Request) -> web.Response:
        async def read() -> bytes:
            try:
                return await request.content.readany()
            except (ConnectionError, web.RequestPayloadError) as error:
                raise ClientDisconnected from error

        try:
            response = await respond(handler, read, request.headers)
        except ClientDisconnected:
            response = INCOMPLETE_BODY
        return web.Response(status=response.status, text=response.text)

    async def open_handler(_: web.Application) -> None:
        handler.open()

    async def close_handler(_: web.Application) -> None:
        await handler.aclose()

    app = web.Application()
    for path in ("", "/{path:.*}"):
        app.router.add_post(path, receive)
    app.on_startup.append(open_handler)
    app.on_shutdown.append(close_handler)  # before a parent app closes the resources of the event handlers
    return app


class AsgiApp:
    """An ASGI app (http and lifespan) that takes deliveries at every path, and rejects websockets."""

    def __init__(self, handler: DeliveryHandler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection, as ASGI defines it."""
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                if scope["method"] == "POST":
                    response = await respond(self._handler, _body_reader(receive), _decode_headers(scope["headers"]))
                else:
                    response = WRONG_METHOD
            except ClientDisconnected:
                return
            await _send_response(send, response)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "deliveries use POST"})
        else:
            raise ValueError(f"deliveries use http, not {scope['type']}")

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._handler.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._handler.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def _body_reader(receive: Receive) -> Callable[[], Awaitable[bytes]]:
    """Returns a function that reads the next chunk of the body, and no bytes at its end."""
    has_more = True

    async def read() -> bytes:
        nonlocal has_more
        while has_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            has_more = message.get("more_body", False)
            if chunk := message.get("body", b""):
                return bytes(chunk)
        return b""

    return read


async def _send_response(send: Send, response: WebhookResponse) -> None:
    text = response.text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _decode_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Returns the headers by lower-case name; a repeated header is blank, which `verify` rejects."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode("latin-1").lower()
        headers[key] = "" if key in headers else value.decode("latin-1")
    return headers
