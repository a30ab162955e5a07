"""What the page asks for: itself, the news, the files, and that a fault be put in force or ended.

The sandbox has no log-in, so it looks at who asks: another site that a browser has open can neither read nor switch.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from .. import results
from ..api import Api
from ..api_error import ApiError
from ..faults.registry import FaultRegistry
from .fault_toggles import FaultToggles
from .feed import DashboardFeed

FOLDER: Final = Path(__file__).parent

PARTS: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/sandbox/icon.svg": ("icon.svg", "image/svg+xml"),
    "/sandbox/wave.svg": ("wave.svg", "image/svg+xml"),
    "/sandbox/page.css": ("page.css", "text/css; charset=utf-8"),
    "/sandbox/page.js": ("page.js", "text/javascript; charset=utf-8"),
}

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

PERIOD: Final = 0.2
"""Seconds between two looks at what is new, while somebody watches."""

SIGN_OF_LIFE: Final = 10.0
"""Seconds without news after which a comment is sent."""

PATIENCE: Final = 5.0
"""Seconds that a watcher has to take a message; then its connection is cut, and the browser comes again."""

MOST_WATCHERS: Final = 20


class DashboardHandlers:
    """Answers what is asked of the page. `clock` gives epoch seconds."""

    def __init__(self, api: Api, faults: FaultRegistry, clock: Callable[[], float]) -> None:
        self._api = api
        self._switches = FaultToggles(faults)
        self._clock = clock
        self._watchers = 0

    @staticmethod
    def is_meant(request: web.BaseRequest) -> bool:
        """Whether this is for the page: a browser at the root, or a path of the page's own."""
        if request.path == "/":
            return request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        return request.path.startswith("/sandbox/")

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if not _is_own_name(request.host):
            return _refusal(403, "Open this page by an IP address or as localhost.")
        if request.method == "POST":
            return await self._switch(request)
        if request.method != "GET":
            return _refusal(405, "The page takes GET and POST.")
        if request.path in PARTS:
            name, content_type = PARTS[request.path]
            data = await asyncio.to_thread((FOLDER / name).read_bytes)
            return web.Response(body=data, headers={**HEADERS, "Content-Type": content_type})
        if request.path == "/sandbox/events":
            return await self._events(request)
        return await self._file(request)

    async def _switch(self, request: web.BaseRequest) -> web.Response:
        """POST /sandbox/faults: {"id": "fault-1", "on": true}."""
        if request.path != "/sandbox/faults":
            return _refusal(404, "There is nothing to post to.")
        origin = request.headers.get("Origin", "")
        if urlsplit(origin).netloc != request.host or request.content_type != "application/json":
            return _refusal(403, "Only the page itself switches faults.")
        try:
            wish = json.loads(await request.read())
            switch_id, on = wish["id"], wish["on"]
        except (ValueError, LookupError, TypeError, web.HTTPRequestEntityTooLarge):
            return _refusal(400, 'Send {"id": "fault-1", "on": true}.')
        if not self._switches.turn(switch_id, on=on is True):
            return _refusal(404, "There is no such fault any more.")
        return web.Response(status=204, headers=HEADERS)

    async def _file(self, request: web.BaseRequest) -> web.Response:
        """A result, as the page shows it: not counted, and hit by no fault."""
        *_, task_id, name = request.path.rsplit("/", 2)
        task = self._api.service_state.tasks.get(task_id)
        if task is None or request.path != f"/sandbox/results/{task_id}/{name}":
            return _refusal(404, "There is no such page.")
        if task.status(self._clock()) != "succeeded":
            return _refusal(404, "There is no such file yet.")
        try:
            answer = results.partial(await self._api.shelf.fetch(task, name), request)
        except ApiError as refused:
            return _refusal(refused.status, refused.message)
        headers = {**HEADERS, "Cache-Control": "private, max-age=600", "Content-Type": answer.content_type}
        return web.Response(body=answer.body, status=answer.status, headers={**headers, **answer.headers})

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        """Server-sent events for as long as somebody reads them. Nothing is queued: a look tells what is new then."""
        if self._watchers >= MOST_WATCHERS:
            return _refusal(503, "Too many pages are open.")
        self._watchers += 1
        try:
            return await self._tell(request, DashboardFeed(self._api, self._switches, self._clock))
        finally:
            self._watchers -= 1

    async def _tell(self, request: web.BaseRequest, watcher: DashboardFeed) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        last = loop.time()
        while request.transport is not None and not request.transport.is_closing():
            message = watcher.news()
            if message is None and loop.time() - last >= SIGN_OF_LIFE:
                message = b": still here\n\n"
            if message is not None:
                last = loop.time()
                try:
                    async with asyncio.timeout(PATIENCE):
                        await response.write(message)
                except (TimeoutError, ConnectionError):
                    if request.transport is not None:
                        request.transport.abort()
                    break
            await asyncio.sleep(PERIOD)
        return response


def _is_own_name(host: str) -> bool:
    """Whether a Host header can only mean this machine: a foreign name may be led here by whoever owns it."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False


def _refusal(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=f"{message}\n", headers=HEADERS)
