"""The receiver as an ASGI app: http and lifespan, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from . import answer
from .answer import Answer
from .served import READ_WITHIN, gathered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .served import Served

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gone(Exception):
    """Whoever was sending has gone away: there is nobody to answer."""


class AsgiApp:
    """Takes deliveries at every path."""

    def __init__(self, receiver: Served) -> None:
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            try:
                await _send(send, await self._answer(scope, receive))
            except Gone:
                return
        else:
            raise ValueError(f"deliveries come over http, not {scope['type']}")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._receiver.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._receiver.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] != "POST":
            return answer.WRONG_METHOD
        try:
            async with asyncio.timeout(READ_WITHIN):
                body = await gathered(_reader(receive), self._receiver.max_body)
        except TimeoutError:
            return answer.SLOW_BODY
        return answer.TOO_LARGE if body is None else await self._receiver.receive(body, _headers(scope["headers"]))


def _reader(receive: Receive) -> Callable[[], Awaitable[bytes]]:
    """Reads the next piece of the body; nothing at its end."""
    is_more = True

    async def read() -> bytes:
        nonlocal is_more
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            is_more = message.get("more_body", False)
            if piece := message.get("body", b""):
                return bytes(piece)
        return b""

    return read


async def _send(send: Send, given: Answer) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if given.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"POST"))
    text = given.text.encode()
    headers.append((b"content-length", str(len(text)).encode()))
    await send({"type": "http.response.start", "status": int(given.status), "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by name; one that came twice counts as one that is not to be read, as for `verify`."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode("latin-1").lower()
        headers[key] = "" if key in headers else value.decode("latin-1")
    return headers
