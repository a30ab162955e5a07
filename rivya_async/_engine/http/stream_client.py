"""Opens streamed responses under the retry policy, and keeps them open for as long as they are read."""

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

    from ..._core.http.messages import Request
    from .request_executor import RequestExecutor
    from .request_limiter import ClosableSemaphore
    from .transport import StreamingResponse, Transport

EVENT_STREAM: Final = "text/event-stream"

MAX_ERROR_BODY_BYTES: Final = 64 * 1024
"""Bytes read of the body of an error response."""

ERROR_BODY_TIMEOUT: Final = 5.0
"""Maximum seconds spent reading the body of an error response."""


@attrs.frozen
class OpenStream(Response):
    """The head of a 2xx response whose body is still to be read. `attempts` counts the requests that it took."""

    response: StreamingResponse
    exit_stack: AsyncExitStack
    attempts: int = 1


class StreamClient:
    """Opens streams. Open streams are bounded apart from calls and polls, since they last long."""

    def __init__(self, executor: RequestExecutor, transport: Transport, open_streams: ClosableSemaphore) -> None:
        self._executor = executor
        self._transport = transport
        self._open_streams = open_streams

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[OpenStream]:
        """Yields the response when its head has arrived; closes the connection at the end of the block.

        Waits for a slot among the open streams. Raises what any call can raise.
        """
        attempts = 0

        async def send(request: Request) -> Response:
            nonlocal attempts
            attempts += 1
            return await self._send(request)

        await self._open_streams.acquire()
        try:
            response = await self._executor.execute(Operation(request, _identity), send=send)
            stream = attrs.evolve(cast("OpenStream", response), attempts=attempts)
            async with stream.exit_stack:
                yield stream
        finally:
            self._open_streams.release()

    async def _send(self, request: Request) -> Response:
        """Returns the open stream, or an error response with its body.

        Raises `ResponseDecodeError` for a 2xx response of another content type.
        """
        async with AsyncExitStack() as exit_stack:
            response = await exit_stack.enter_async_context(self._transport.stream(request))
            head = response.head
            if not head.is_success:
                return attrs.evolve(head, body=await _read_error_body(response))
            if head.content_type is not None and not head.content_type.lower().startswith(EVENT_STREAM):
                raise ResponseDecodeError(
                    f"the service answered with {head.content_type[:80]!r} in place of an event stream: check "
                    "base_url, and any proxy on the way",
                    reason="no event stream",
                    is_json=False,
                )
            return OpenStream(head.status, head.headers, b"", response, exit_stack.pop_all())
        raise AssertionError("an exit stack suppresses nothing")


def _identity(response: Response) -> Response:
    return response


async def _read_error_body(response: StreamingResponse) -> bytes:
    body = bytearray()
    with suppress(TimeoutError, OutcomeUnknownError):
        async with asyncio.timeout(ERROR_BODY_TIMEOUT):
            while len(body) < MAX_ERROR_BODY_BYTES and (chunk := await response.read()):
                body += chunk
    return bytes(body)
