"""The handler of every API request: logs it, applies faults, authorizes it and sends the response."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from operator import attrgetter
from typing import Final

from aiohttp import web

from .api import ROUTES, Api
from .api_keys import RateLimiter, authorize, parse_bearer_token
from .faults.fault import Fault, inject_fault
from .faults.registry import FAULT_HEADER, FaultRegistry, parse_header
from .files.uploads import CHUNK_BYTES, MAX_UPLOAD_BYTES
from .request_context import RequestContext, Router
from .request_log import LoggedRequest
from .responses import ApiError, ApiResponse, error_body
from .sse import StreamEnd

MIN_SLEEP: Final = 0.001
"""Seconds; a shorter delay between two events is skipped, since timers are not that precise."""

DISCONNECT_CHECK_INTERVAL: Final = 0.02
"""Seconds between two checks whether the client of a stalled response has disconnected."""

BODY_DRAIN_TIMEOUT: Final = 5.0
"""Maximum seconds spent draining an unread request body."""

logger = logging.getLogger(__name__)


class RequestHandler:
    """The request handler of the server. `clock` returns epoch seconds."""

    def __init__(self, api: Api, faults: FaultRegistry, rate_limiter: RateLimiter, clock: Callable[[], float]) -> None:
        self._api = api
        self._faults = faults
        self.rate_limiter = rate_limiter
        self._clock = clock
        self._router = Router(ROUTES)
        self._request_numbers = itertools.count(1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        arrived_at = asyncio.get_running_loop().time()
        route, path_params = self._router.resolve(request.method, request.path)
        idempotency_key = request.headers.get("Idempotency-Key")
        context = RequestContext(request, route, path_params, self._clock(), idempotency_key)
        route_name = None if route is None else route.name
        self._api.request_log.record_arrival(route_name, request.method, idempotency_key)
        status: int | None = None
        try:
            fault = self._match_fault(context, route_name)
            if fault is not None:
                response, status = await self._apply_fault(context, fault)
                return response
            api_response = await self._process(context)
            status = api_response.status
            return await _send(context, api_response)
        finally:
            self._finish(context, route_name, arrived_at, status)

    def _finish(self, context: RequestContext, route: str | None, arrived_at: float, status: int | None) -> None:
        if context.on_finish is not None:
            context.on_finish()
        if context.idempotency_scope is not None:
            self._api.idempotency.release(context.idempotency_scope)
        if context.reports_end and context.task_id is not None and status == HTTPStatus.OK:
            self._api.request_log.record_observed(context.task_id)
        request = context.request
        self._api.request_log.record_response(
            LoggedRequest(
                method=request.method,
                path=request.path,
                route=route,
                idempotency_key=context.idempotency_key,
                at=arrived_at,
                status=status,
                task_id=context.task_id,
                body=context.body,
                has_authorization="Authorization" in request.headers,
                upload=context.upload,
                is_replay=context.is_replay,
            )
        )

    def _match_fault(self, context: RequestContext, route: str | None) -> Fault | None:
        """Returns the fault of the request's own header, or else of the registry, which counts the request anyway."""
        matched = self._faults.match(route, context.request.path, context.idempotency_key)
        header = context.request.headers.get(FAULT_HEADER)
        if header is None:
            return matched
        try:
            return parse_header(header)
        except ValueError as error:
            body = error_body("validation_failed", f"{FAULT_HEADER}: {error}", self._new_request_id())
            return Fault(status=400, body=body)

    async def _process(self, context: RequestContext) -> ApiResponse:
        """Returns the true response of the service."""
        try:
            return await self._call_handler(context)
        except ApiError as error:
            return error.to_response(self._new_request_id())
        except Exception:
            logger.exception("%s %s failed", context.request.method, context.request.path)
            internal_error = ApiError("internal_error", "The sandbox failed: its log has the traceback.")
            return internal_error.to_response(self._new_request_id())

    async def _call_handler(self, context: RequestContext) -> ApiResponse:
        """Returns the response of the route's handler, once the changes that it reports are on disk."""
        if context.route is None:
            raise self._router.unresolved_error(context.request.path)
        if context.route.scope is not None:
            secret = parse_bearer_token(context.request.headers.get("Authorization"))
            key = authorize(self._api.service_state.api_keys.get(secret), context.route.scope)
            context.account_id = key.account_id
            self.rate_limiter.check(secret, context.now)
        response: ApiResponse = await attrgetter(context.route.handler)(self._api)(context)
        store = self._api.service_state.store
        if store.has_unwritten:
            await store.flush()
        return response

    def _new_request_id(self) -> str:
        return f"req_{next(self._request_numbers):08x}"

    async def _apply_fault(self, context: RequestContext, fault: Fault) -> tuple[web.StreamResponse, int | None]:
        """Answers as the fault demands; the status is None if the connection was dropped."""
        response = ApiResponse(b"")
        if fault.act:
            response = await self._process(context)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if not fault.act and not fault.replaces_response:
            context.now = self._clock()
            response = await self._process(context)
        if fault.receive is not None:
            await _drain_body(context, fault.receive)
        transport = context.request.transport
        if fault.drop:
            if transport is not None:
                transport.abort()
            return web.Response(), None
        response = inject_fault(response, fault, self._new_request_id())
        if fault.truncate is None:
            return await _send(context, response), response.status
        if transport is not None:
            transport.write(_truncated_bytes(response, fault.truncate))
            await _end_response(context, "stall" if fault.stall else "complete")
            transport.close()
        return web.Response(), response.status


async def _send(context: RequestContext, response: ApiResponse) -> web.StreamResponse:
    if context.request.can_read_body and "Expect" not in context.request.headers:
        # As a proxy before a service does: a client that is still sending may not read an early response.
        with suppress(TimeoutError):
            async with asyncio.timeout(BODY_DRAIN_TIMEOUT):
                await _drain_body(context, MAX_UPLOAD_BYTES)
    date = formatdate(context.now, usegmt=True)
    headers = {"Content-Type": response.content_type, "Date": date, **response.headers}
    if not response.events:
        return web.Response(body=response.body, status=response.status, headers=headers)
    stream = web.StreamResponse(status=response.status, headers={"Cache-Control": "no-cache", **headers})
    with suppress(ConnectionError):  # the client has disconnected; the purchase remains
        await stream.prepare(context.request)
        for event in response.events:
            if event.delay >= MIN_SLEEP:
                await asyncio.sleep(event.delay)
            await stream.write(event.encode())
        await _end_response(context, response.stream_end)
    return stream


async def _end_response(context: RequestContext, end: StreamEnd) -> None:
    transport = context.request.transport
    if end == "cut" and transport is not None:
        transport.abort()
    while end == "stall" and transport is not None and not transport.is_closing():  # noqa: ASYNC110  there is no event
        await asyncio.sleep(DISCONNECT_CHECK_INTERVAL)


async def _drain_body(context: RequestContext, max_bytes: int) -> None:
    """Reads and discards at most `max_bytes` of the body; ends early if the client disconnects."""
    context.send_continue()
    with suppress(web.RequestPayloadError, OSError):
        while max_bytes > 0 and (chunk := await context.request.content.read(min(max_bytes, CHUNK_BYTES))):
            max_bytes -= len(chunk)


def _truncated_bytes(response: ApiResponse, length: int) -> bytes:
    """Returns a raw response with the Content-Length of the whole body and the first `length` bytes of it."""
    reason = HTTPStatus(response.status).phrase if response.status in set(HTTPStatus) else "Unknown"
    headers = {"Content-Type": response.content_type, "Content-Length": str(len(response.body)), **response.headers}
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + response.body[:length]
