"""Answers that are read piece by piece: opened by the retry law, then open for as long as they go on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

import attrs

from ..._core.errors import OutcomeUnknownError, ResponseDecodeError
from ..._core.http.messages import Response
from ..._core.http.operations import Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..._core.config import Config
    from ..._core.http.messages import Request
    from .request_executor import RequestExecutor
    from .request_limiter import RequestLimiter
    from .transport import StreamingResponse, Transport

EVENT_STREAM: Final = "text/event-stream"

MAX_ERROR_BODY_BYTES: Final = 64 * 1024
ERROR_BODY_TIMEOUT: Final = 5.0
"""What is read of a refusal, and for how long: its status alone is enough."""


@attrs.frozen
class OpenStream(Response):
    """The head of a 2xx answer, with the body still to come, and how many requests it took to get it."""

    response: StreamingResponse
    exit_stack: AsyncExitStack
    attempts: int = 1


class StreamOpeningTransport:
    """A transport for a `RequestExecutor`: to it, a stream is answered as soon as its head is there.

    So the attempts of a stream are those of any call, and end where its answer begins.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> Response:
        """The opened stream, or a refusal read to its end. Raises `ResponseDecodeError` for what is no event stream."""
        async with AsyncExitStack() as closing:
            fetched = await closing.enter_async_context(self._transport.stream(request))
            head = fetched.head
            if not head.is_success:
                return attrs.evolve(head, body=await _read_error_body(fetched))
            if head.content_type is not None and not head.content_type.lower().startswith(EVENT_STREAM):
                raise ResponseDecodeError(
                    f"the service answered with {head.content_type[:80]!r} in place of an event stream: check "
                    "base_url, and what stands between here and there",
                    reason="no event stream",
                    is_json=False,
                )
            return OpenStream(head.status, head.headers, b"", fetched, closing.pop_all())
        raise AssertionError  # an exit stack of ours swallows nothing


class StreamClient:
    """Opens streams, with a bound of its own on how many are open: long ones keep no place from calls and polls."""

    def __init__(self, opener: RequestExecutor, gate: RequestLimiter, settings: Config) -> None:
        self._opener = opener
        self._gate = gate
        self._settings = settings

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[OpenStream]:
        """The answer, to be read; the connection is closed at the end of the block.

        Waits for a place among the streams, and raises what any call can raise.
        """
        await self._gate.acquire()
        try:
            answer, attempts = await self._opener.execute_counted(Operation(request, _identity))
            opened = attrs.evolve(cast("OpenStream", answer), attempts=attempts)
            async with opened.exit_stack:
                yield opened
        finally:
            self._gate.release()

    def mask_api_key(self, told: str) -> str:
        """What the service told, as it may be shown: some services repeat the key that they refuse."""
        key = self._settings.api_key
        return told if key is None else told.replace(key, "***")


def _identity(response: Response) -> Response:
    return response


async def _read_error_body(fetched: StreamingResponse) -> bytes:
    body = bytearray()
    with suppress(TimeoutError, OutcomeUnknownError):
        async with asyncio.timeout(ERROR_BODY_TIMEOUT):
            while len(body) < MAX_ERROR_BODY_BYTES and (piece := await fetched.read()):
                body += piece
    return bytes(body)
