"""Handlers of the dashboard: its static files, its event stream, result files and fault toggles.

The sandbox has no login, so the server checks the Host header, and a toggle the Origin: other sites in the same browser
can neither read nor toggle.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from ..api import Api
from ..faults.registry import FaultRegistry
from ..responses import ApiError
from ..results import file_response
from .feed import DashboardFeed, FaultToggles

STATIC_FOLDER: Final = Path(__file__).with_name("static")

STATIC_FILES: Final = {
    "/": ("dashboard.html", "text/html; charset=utf-8"),
    "/sandbox/icon.svg": ("icon.svg", "image/svg+xml"),
    "/sandbox/wave.svg": ("wave.svg", "image/svg+xml"),
    "/sandbox/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/sandbox/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
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

UPDATE_INTERVAL: Final = 0.2
"""Seconds between two updates of an event stream."""

KEEP_ALIVE_INTERVAL: Final = 10.0
"""Seconds without an event after which a keep-alive comment is sent."""

WRITE_TIMEOUT: Final = 5.0
"""Seconds for a client to read an event; then its connection is aborted, and the browser reconnects."""

MAX_STREAMS: Final = 20
"""Event streams that may be open at once."""


class DashboardHandlers:
    """The request handler of the dashboard. `clock` returns epoch seconds."""

    def __init__(self, api: Api, faults: FaultRegistry, clock: Callable[[], float]) -> None:
        self._api = api
        self._toggles = FaultToggles(faults)
        self._clock = clock
        self._open_streams = 0

    @staticmethod
    def serves(request: web.BaseRequest) -> bool:
        """Returns True for a browser at the root, and for a path of the dashboard."""
        if request.path == "/":
            return request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        return request.path.startswith("/sandbox/")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        if request.method == "POST":
            return await self._toggle_fault(request)
        if request.method != "GET":
            return _error(405, "The dashboard accepts GET and POST.")
        if request.path in STATIC_FILES:
            name, content_type = STATIC_FILES[request.path]
            data = await asyncio.to_thread((STATIC_FOLDER / name).read_bytes)
            return web.Response(body=data, headers={**HEADERS, "Content-Type": content_type})
        if request.path == "/sandbox/events":
            return await self._stream_events(request)
        return await self._get_result(request)

    async def _toggle_fault(self, request: web.BaseRequest) -> web.Response:
        """Handles POST /sandbox/faults: {"id": "fault-1", "on": true}."""
        if request.path != "/sandbox/faults":
            return _error(404, "This path does not accept POST.")
        origin = request.headers.get("Origin", "")
        if urlsplit(origin).netloc != request.host or request.content_type != "application/json":
            return _error(403, "Only the dashboard itself toggles faults.")
        try:
            body = json.loads(await request.read())
            toggle_id, active = body["id"], body["on"] is True
        except (ValueError, LookupError, TypeError, web.HTTPRequestEntityTooLarge):
            return _error(400, 'Send {"id": "fault-1", "on": true}.')
        if not self._toggles.set_active(toggle_id, active=active):
            return _error(404, "There is no such fault any more.")
        return web.Response(status=204, headers=HEADERS)

    async def _get_result(self, request: web.BaseRequest) -> web.Response:
        """Handles GET /sandbox/results/{task_id}/{name}: a result file, not logged and without faults."""
        *_, task_id, name = request.path.rsplit("/", 2)
        task = self._api.service_state.tasks.get(task_id)
        if task is None or request.path != f"/sandbox/results/{task_id}/{name}":
            return _error(404, "There is no such page.")
        if task.status(self._clock()) != "succeeded":
            return _error(404, "There is no such file yet.")
        try:
            response = file_response(await self._api.result_cache.get(task, name), request)
        except ApiError as error:
            return _error(error.status, error.message)
        headers = {**HEADERS, "Cache-Control": "private, max-age=600", "Content-Type": response.content_type}
        return web.Response(body=response.body, status=response.status, headers={**headers, **response.headers})

    async def _stream_events(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handles GET /sandbox/events. Nothing is queued: each event has the changes since the previous one."""
        if self._open_streams >= MAX_STREAMS:
            return _error(503, "Too many dashboards are open.")
        self._open_streams += 1
        try:
            return await self._send_events(request, DashboardFeed(self._api, self._toggles, self._clock))
        finally:
            self._open_streams -= 1

    async def _send_events(self, request: web.BaseRequest, feed: DashboardFeed) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        last_write_at = loop.time()
        while request.transport is not None and not request.transport.is_closing():
            event = feed.next_event()
            if event is None and loop.time() - last_write_at >= KEEP_ALIVE_INTERVAL:
                event = b": keep-alive\n\n"
            if event is not None:
                last_write_at = loop.time()
                try:
                    async with asyncio.timeout(WRITE_TIMEOUT):
                        await response.write(event)
                except (TimeoutError, ConnectionError):
                    if request.transport is not None:
                        request.transport.abort()
                    break
            await asyncio.sleep(UPDATE_INTERVAL)
        return response


def _error(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=f"{message}\n", headers=HEADERS)
