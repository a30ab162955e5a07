"""The receiver as an app of aiohttp's server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from . import answer
from .served import READ_WITHIN, gathered

if TYPE_CHECKING:
    from .answer import Answer
    from .served import Served


def new_app(receiver: Served) -> web.Application:
    """An app that takes deliveries at every path under its own."""

    async def take(request: web.Request) -> web.Response:
        given = await _answer(receiver, request)
        return web.Response(status=given.status, text=given.text)

    async def opened(_: web.Application) -> None:
        receiver.open()

    async def closed(_: web.Application) -> None:
        await receiver.aclose()

    app = web.Application()
    for path in ("", "/{path:.*}"):
        app.router.add_post(path, take)
    app.on_startup.append(opened)
    app.on_shutdown.append(closed)  # before any app around it closes what the handlers use
    return app


async def _answer(receiver: Served, request: web.Request) -> Answer:
    try:
        async with asyncio.timeout(READ_WITHIN):
            body = await gathered(request.content.readany, receiver.max_body)
    except TimeoutError:
        return answer.SLOW_BODY
    except (ConnectionError, web.RequestPayloadError):
        return answer.CUT_BODY
    return answer.TOO_LARGE if body is None else await receiver.receive(body, request.headers)
