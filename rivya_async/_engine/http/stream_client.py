"""Opens streamed responses under the retry policy, and keeps them open for as long as they are read."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

import attrs

from ..._core.chat.accumulator import find_error
from ..._core.errors import OutcomeUnknownError, ResponseDecodeError, RivyaError
from ..._core.http import serialization
from ..._core.http.error_responses import read_error
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

DRAIN_TIMEOUT: Final = 0.25
"""Maximum seconds spent on the end of a stream after its last event, so that its connection can be used again."""

MAX_SHOWN_BODY: Final = 500
"""Maximum characters of `body` of an error."""


@attrs.frozen
class OpenStream(Response):
    """The head of a 2xx response whose body is still to be read. `attempts` counts the requests that it took."""

    response: StreamingResponse
    exit_stack: AsyncExitStack
    attempts: int = 1

    async def drain(self) -> None:
        """Reads to the end of the response, for a short time."""
        with suppress(TimeoutError, RivyaError):
            async with asyncio.timeout(DRAIN_TIMEOUT):
                while await self.response.read():
                    pass


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
            response = await self._executor.execute(Operation(request, self._require_stream), send=send)
            stream = attrs.evolve(cast("OpenStream", response), attempts=attempts)
            async with stream.exit_stack:
                yield stream
        finally:
            self._open_streams.release()

    async def _send(self, request: Request) -> Response:
        """Returns the open stream, or a response that is none with its body."""
        async with AsyncExitStack() as exit_stack:
            response = await exit_stack.enter_async_context(self._transport.stream(request))
            head = response.head
            is_stream = head.content_type is None or head.content_type.lower().startswith(EVENT_STREAM)
            if not (head.is_success and is_stream):
                return attrs.evolve(head, body=await _read_error_body(response))
            return OpenStream(head.status, head.headers, b"", response, exit_stack.pop_all())
        raise AssertionError("an exit stack suppresses nothing")

    def _require_stream(self, response: Response) -> Response:
        """Returns an open stream.

        Raises the error of a 2xx response that contains one, else `ResponseDecodeError`.
        """
        if isinstance(response, OpenStream):
            return response
        text = self._executor.mask_api_key(response.body.decode(errors="replace"))
        with suppress(ResponseDecodeError):
            if find_error("", serialization.parse_json(text.encode())) is not None:
                masked = attrs.evolve(response, body=text.encode())
                raise read_error(masked, self._executor.environment.wall_time())
        raise ResponseDecodeError(
            f"the service answered with {(response.content_type or '')[:80]!r} in place of an event stream: check "
            "base_url, and any proxy on the way",
            reason="no event stream",
            body=text[:MAX_SHOWN_BODY],
            is_json=False,
        )


async def _read_error_body(response: StreamingResponse) -> bytes:
    body = bytearray()
    with suppress(TimeoutError, OutcomeUnknownError):
        async with asyncio.timeout(ERROR_BODY_TIMEOUT):
            while len(body) < MAX_ERROR_BODY_BYTES and (chunk := await response.read()):
                body += chunk
    return bytes(body)
