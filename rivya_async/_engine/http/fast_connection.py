"""One connection of the fast transport: an asyncio protocol that parses responses with httptools."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final, cast

import aiohttp
from httptools import HttpParserError, HttpResponseParser
from multidict import CIMultiDict

from ..._core.errors import ResponseDecodeError
from ..._core.http.messages import Response
from .aiohttp_backends import MAX_FIELD_BYTES
from .aiohttp_transport import check_body_size

if TYPE_CHECKING:
    from .watchdog import TimeoutScope

MAX_HEADERS: Final = 128
"""Maximum number of headers of a response, as in aiohttp."""

MAX_HEAD_BYTES: Final = 4 * MAX_FIELD_BYTES
"""Maximum bytes of a response besides its body: status lines, headers, trailers."""

MAX_CHUNK_OVERHEAD: Final = 16
"""Maximum bytes of the lines of a chunk, which are allowed beyond `MAX_HEAD_BYTES` for each byte of the body."""

TEXT: Final = ("utf-8", "surrogateescape")
"""Encoding of headers, as in aiohttp."""

FRAMING_HEADERS: Final = {"content-length", "transfer-encoding"}
"""A response without these headers ends with its connection."""

FIRST_FINAL_STATUS: Final = 200
SWITCHING_PROTOCOLS: Final = 101


class FastConnection(asyncio.Protocol):
    """A connection to the service, with at most one request in flight.

    Each response answers the request in flight. Bytes without such a request close the connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, connections: set[FastConnection]) -> None:
        self.is_reusable = False
        """True between the end of a response and the next request, if the connection may be used again."""
        self.idle_since = 0.0
        self._loop = loop
        self._connections = connections
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._scope: TimeoutScope | None = None

    @property
    def is_open(self) -> bool:
        """True until the connection is closed from either side."""
        return not self.lost.done() and not self._transport.is_closing()

    def begin(self, data: bytes, scope: TimeoutScope, limit: int) -> asyncio.Future[Response]:
        """Sends a request and returns the future of its response, whose body has at most `limit` bytes."""
        self.is_reusable = False
        self._scope = scope
        self._limit = limit
        self._received = 0
        self._expect_headers()
        waiter = self._waiter = self._loop.create_future()
        self._transport.write(data)
        scope.transport = self._transport
        scope.reset_read_timeout()
        return waiter

    def abort(self) -> None:
        """Closes the connection at once."""
        self.is_reusable = False
        if not self._loop.is_closed():
            self._transport.abort()

    def _expect_headers(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._has_headers = False

    # --- the protocol -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parses a part of the response."""
        if self._scope is None:
            self.abort()
            return
        self._scope.reset_read_timeout()
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:  # also for bytes after the response
            self._fail(aiohttp.ClientPayloadError(f"not a valid HTTP response: {error}"))
        if self._received - self._size > MAX_HEAD_BYTES + MAX_CHUNK_OVERHEAD * self._size:
            self._fail(aiohttp.ClientPayloadError("the headers of the response are too long"))

    def eof_received(self) -> None:
        """Lets the transport close the connection."""
        self.is_reusable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the request in flight: with the response, if the end of the connection is its end."""
        self.is_reusable = False
        self._connections.discard(self)
        self.lost.set_result(None)
        del self._parser  # breaks the reference cycle
        if self._waiter is None:
            return
        if not self._has_headers:
            self._fail(exc if isinstance(exc, OSError) else aiohttp.ServerDisconnectedError())
        elif exc is not None or any(
            name.lower() in {"content-length", "transfer-encoding"} for name, _ in self._headers
        ):
            self._fail(aiohttp.ClientPayloadError("the connection was lost before the end of the response"))
        else:
            self._complete()

    def _complete(self) -> None:
        waiter = self._end_request()
        if waiter is not None and not waiter.done():
            waiter.set_result(Response(self._status, CIMultiDict(self._headers), b"".join(self._body)))

    def _fail(self, error: Exception) -> None:
        waiter = self._end_request()
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _end_request(self) -> asyncio.Future[Response] | None:
        waiter, self._waiter, self._scope = self._waiter, None, None  # an idle connection keeps no task alive
        return waiter

    # --- the parser ---------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Excludes a connection from further use on which bytes follow the response."""
        if self._waiter is None:
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Stores a header. Trailers are ignored."""
        if self._has_headers or self._waiter is None:
            return
        if max(len(name), len(value)) > MAX_FIELD_BYTES or len(self._headers) >= MAX_HEADERS:
            self._fail(aiohttp.ClientPayloadError("the headers of the response are too long"))
        self._headers.append((name.decode(*TEXT), value.strip(b" \t").decode(*TEXT)))

    def on_headers_complete(self) -> None:
        """Stores the status."""
        self._status = self._parser.get_status_code()
        self._has_headers = True

    def on_body(self, data: bytes) -> None:
        """Stores a part of the body."""
        if self._waiter is None:
            return
        self._body.append(data)
        self._size += len(data)
        try:
            check_body_size(self._size, self._limit)
        except ResponseDecodeError as error:
            self._fail(error)

    def on_message_complete(self) -> None:
        """Ends the request in flight, unless the response is an informational one."""
        if self._waiter is None:
            return
        if self._status < FIRST_FINAL_STATUS and self._status != SWITCHING_PROTOCOLS:
            self._expect_headers()
            return
        self.is_reusable = self._parser.should_keep_alive() and self._status != SWITCHING_PROTOCOLS
        self._complete()


def decode_content(response: Response, limit: int) -> Response:
    """Returns the response with its body decompressed. The request did not accept any compression."""
    encoding = response.headers.get("Content-Encoding", "").lower()
    if encoding not in {"gzip", "deflate", "br", "zstd"} or not response.body:
        return response
    if encoding not in {"gzip", "deflate"}:
        raise aiohttp.ClientPayloadError(f"the response has the content encoding {encoding}, which was not accepted")
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)  # recognises both formats
    try:
        body = decompressor.decompress(response.body, limit + 1)
    except zlib.error as error:
        raise aiohttp.ClientPayloadError(f"the body of the response cannot be decompressed: {error}") from None
    check_body_size(len(body), limit)
    if not decompressor.eof:
        raise aiohttp.ClientPayloadError("the body of the response ends early")
    return Response(response.status, response.headers, body)
