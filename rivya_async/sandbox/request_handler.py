"""The door: what every request passes, whatever it asks for. Notes it, lets faults strike, checks the key, says no."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web

from . import api_keys as keys
from .api import ROUTES, Api
from .api_error import ApiError
from .faults.fault import Fault
from .faults.injection import inject_fault
from .faults.parsing import HEADER, parse_header
from .faults.registry import FaultRegistry
from .files.file_store import MAX_UPLOAD_BYTES
from .files.multipart_upload import CHUNK_BYTES
from .rate_limit import RateLimit
from .request_context import RequestContext
from .request_log import LoggedRequest
from .responses import ApiResponse, envelope, refusal
from .router import Router
from .sse import Ending

SHORTEST_PAUSE: Final = 0.001
"""Seconds: a shorter pause between two pieces is none, since no timer is that punctual."""

STALL_LOOK: Final = 0.02
"""Seconds between two looks whether anybody still waits for a stream that says nothing more."""

logger = logging.getLogger(__name__)

REST_SECONDS: Final = 5.0
"""How long the rest of a body is read that nobody wants."""


class RequestHandler:
    """The request handler of the server. `clock` gives epoch seconds."""

    def __init__(self, api: Api, faults: FaultRegistry, rate_limit: RateLimit, clock: Callable[[], float]) -> None:
        self._api = api
        self._faults = faults
        self._store = api.service_state.store
        self.rate_limit = rate_limit
        self._clock = clock
        self._table = Router(ROUTES)
        self._numbers = itertools.count(1)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        arrived_at = asyncio.get_running_loop().time()
        route, arguments = self._table.find(request.method, request.path)
        visit = RequestContext(request, route, arguments, self._clock(), request.headers.get("Idempotency-Key"))
        name = None if route is None else route.name
        self._api.request_log.record_arrival(name, request.method, visit.idempotency_key)
        status: int | None = None
        try:
            fault = self._fault(visit, name)
            if fault is None:
                answer = await self._act(visit)
                status = answer.status
                return await _sent(visit, answer)
            response, status = await self._apply_fault(visit, fault)
            return response
        finally:
            self._leave(visit, name, arrived_at, status)

    def _leave(self, visit: RequestContext, route: str | None, arrived_at: float, status: int | None) -> None:
        if visit.at_the_end is not None:
            visit.at_the_end()
        if visit.claimed is not None:
            self._api.memory.release(visit.claimed)
        if visit.tells_end and visit.task_id is not None and status == HTTPStatus.OK:
            self._api.request_log.record_observed(visit.task_id)
        request = visit.request
        self._api.request_log.record_response(
            LoggedRequest(
                method=request.method,
                path=request.path,
                route=route,
                idempotency_key=visit.idempotency_key,
                at=arrived_at,
                status=status,
                task_id=visit.task_id,
                body=visit.body,
                has_authorization="Authorization" in request.headers,
                upload=visit.upload,
                is_replay=visit.is_replay,
            )
        )

    def _fault(self, visit: RequestContext, route: str | None) -> Fault | None:
        """What goes wrong with this request: what it asks for itself comes first."""
        struck = self._faults.match(route, visit.request.path, visit.idempotency_key)
        told = visit.request.headers.get(HEADER)
        if told is None:
            return struck
        try:
            return parse_header(told)
        except ValueError as error:
            return Fault(status=400, body=envelope("validation_failed", f"{HEADER}: {error}", self._request_id()))

    async def _act(self, visit: RequestContext) -> ApiResponse:
        """What the service truly answers."""
        try:
            if visit.route is None:
                return refusal(self._table.complaint(visit.request.path), self._request_id())
            if visit.route.scope is not None:
                self._admit(visit, visit.route.scope)
            answer = await visit.route.operation(self._api, visit)
            if self._store.is_behind:
                await self._store.written()
            return answer
        except ApiError as refused:
            return refusal(refused, self._request_id())
        except Exception:
            logger.exception("%s %s failed", visit.request.method, visit.request.path)
            return refusal(ApiError("internal_error", "The sandbox made a mistake."), self._request_id())

    def _admit(self, visit: RequestContext, scope: str) -> None:
        secret = keys.bearer(visit.request.headers.get("Authorization"))
        visit.caller = keys.check(self._api.service_state.keys.get(secret), scope)
        self.rate_limit.check(secret, visit.now)

    def _request_id(self) -> str:
        return f"req_{next(self._numbers):08x}"

    async def _apply_fault(self, visit: RequestContext, fault: Fault) -> tuple[web.StreamResponse, int | None]:
        """Answer as the fault says; the status is None if the connection was dropped."""
        answer = ApiResponse(b"")
        if fault.needs_action and fault.act:
            answer = await self._act(visit)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.needs_action and not fault.act:
            visit.now = self._clock()
            answer = await self._act(visit)
        if fault.receive is not None:
            await _take_in(visit, fault.receive)
        transport = visit.request.transport
        if fault.drop:
            if transport is not None:
                transport.abort()
            return web.Response(), None
        answer = inject_fault(answer, fault, self._request_id())
        if fault.truncate is None:
            return await _sent(visit, answer), answer.status
        if transport is not None:
            transport.write(_cut(answer, fault.truncate))
            await _end(visit, "stall" if fault.stall else "whole")
            transport.close()
        return web.Response(), answer.status


async def _sent(visit: RequestContext, answer: ApiResponse) -> web.StreamResponse:
    if visit.request.can_read_body and "Expect" not in visit.request.headers:
        await _take_in_rest(visit)
    if not answer.pieces:
        return _response(answer)
    response = web.StreamResponse(
        status=answer.status,
        headers={"Content-Type": answer.content_type, "Cache-Control": "no-cache", **answer.headers},
    )
    with suppress(ConnectionError):  # nobody listens any more, and the answer is bought all the same
        await response.prepare(visit.request)
        for piece in answer.pieces:
            if piece.after >= SHORTEST_PAUSE:
                await asyncio.sleep(piece.after)
            await response.write(piece.encode())
        await _end(visit, answer.ending)
    return response


async def _end(visit: RequestContext, ending: Ending) -> None:
    transport = visit.request.transport
    if ending == "cut" and transport is not None:
        transport.abort()
    while ending == "stall" and transport is not None and not transport.is_closing():  # noqa: ASYNC110  no event tells
        await asyncio.sleep(STALL_LOOK)


async def _take_in(visit: RequestContext, length: int) -> None:
    """Read so many bytes of the body, or all that there are; a client that goes away meanwhile has its will."""
    visit.let_come()
    with suppress(web.RequestPayloadError, OSError):
        while length > 0 and (chunk := await visit.request.content.read(min(length, CHUNK_BYTES))):
            length -= len(chunk)


async def _take_in_rest(visit: RequestContext) -> None:
    """Read what is refused unread, as a proxy before a service does: a client that still sends hardly hears a no."""
    with suppress(TimeoutError):
        async with asyncio.timeout(REST_SECONDS):
            await _take_in(visit, MAX_UPLOAD_BYTES)


def _response(answer: ApiResponse) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return web.Response(body=answer.body, status=answer.status, headers=headers)


def _cut(answer: ApiResponse, length: int) -> bytes:
    """The bytes of an answer that promises all of its body and holds `length` bytes of it."""
    reason = HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else "Unknown"
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body[:length]
