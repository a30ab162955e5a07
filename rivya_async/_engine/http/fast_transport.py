"""The fast transport: calls over connections that are parsed with httptools, everything else over aiohttp."""

from __future__ import annotations

import asyncio
import re
import socket
from functools import lru_cache
from ssl import CERT_NONE, SSLContext, create_default_context
from typing import TYPE_CHECKING, Final

import aiohappyeyeballs
import aiohttp

from ..._core.errors import ConfigurationError
from ..._core.http.addresses import parse_address
from ..._core.http.messages import merge_headers
from ..single_flight import SingleFlightCache
from .aiohttp_backends import timeouts_of
from .aiohttp_errors import AIOHTTP_ERRORS
from .aiohttp_transport import AiohttpTransport
from .fast_connection import FastConnection, decode_content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohappyeyeballs import AddrInfoType

    from ..._core.config import Config
    from ..._core.http.messages import Request, Response
    from ..._core.policies import Timeouts

KEEP_ALIVE: Final = 15.0
"""Seconds after which an idle connection is not used again, as in aiohttp."""

ADDRESS_LIFETIME: Final = 10.0
"""Seconds for which the addresses of the service are cached, as in aiohttp."""

HAPPY_EYEBALLS_DELAY: Final = 0.25
"""Seconds before the next address is tried, as in aiohttp."""

BODILESS_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods of which a request without a body has no Content-Length."""

PATH_PATTERN: Final = re.compile(r"[!-~]+")
FORBIDDEN_IN_HEADERS: Final = re.compile(r"[\r\n\0]")


class FastTransport(AiohttpTransport):
    """Sends calls that need the API key over its own connections to the service.

    It behaves as `AiohttpTransport` does, for half of the CPU time. Requests through a proxy or with a certificate
    fingerprint, HEAD requests, uploads, streams and files use aiohttp.
    """

    def __init__(
        self, config: Config, timeouts: Timeouts, *, trust_env: bool, ssl: SSLContext | aiohttp.Fingerprint | bool
    ) -> None:
        super().__init__(config, timeouts, None, trust_env=trust_env, ssl=ssl)
        backend = self._fast_backend
        if backend is None:
            raise ConfigurationError("the fast transport has its own connections")
        self._backend = backend
        self._is_direct = not backend.has_proxy and not isinstance(ssl, aiohttp.Fingerprint)
        self._common_headers = dict(backend.http.headers)
        self._common_names = {name.lower() for name in self._common_headers}
        self._common_head = _encode_headers(self._common_headers)
        self._ssl: SSLContext | None = None
        if self._origin.scheme == "https" and self._is_direct:
            self._ssl = ssl if isinstance(ssl, SSLContext) else ssl_context(verified=ssl is True)
        self._loop = asyncio.get_running_loop()
        self._connections: set[FastConnection] = set()
        self._idle: list[FastConnection] = []
        """Connections for the next requests, the longest idle first."""
        self._forget_addresses()

    async def send(self, request: Request) -> Response:
        """Sends the request once and reads the whole response."""
        if not (self._is_direct and request.needs_api_key) or request.method == "HEAD":
            return await super().send(request)
        self._check_open()
        connection: FastConnection | None = None
        try:
            with self._backend.timeout_scope(request) as scope:
                connection = self._take_idle() or await self._connect(timeouts_of(request, self._timeouts).connect)
                # No frame of a traceback holds the encoded request: it contains the API key.
                response = await connection.begin(self._encode(request), scope, request.max_response_bytes)
                return decode_content(response, request.max_response_bytes)
        except AIOHTTP_ERRORS as error:
            not_sent = connection is None and isinstance(error, OSError)
            failure = self._convert_error(error, self._origin, not_sent=not_sent)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - as in `AiohttpTransport.send`
        finally:
            if connection is not None:
                self._release(connection)
        if connection is None:
            self._forget_addresses()  # they may have changed: the retry resolves the name again
        try:
            raise failure
        finally:
            del failure

    # --- requests -----------------------------------------------------------------------------------------------------

    def _encode(self, request: Request) -> bytes:
        """Returns the request as bytes. Raises ValueError for a line break in its path or headers."""
        path = self._prefix + request.path
        if not PATH_PATTERN.fullmatch(path):
            raise ValueError("the path of a request contains a blank, a control or a non-ASCII character")
        headers, body = request.specific_headers, request.body or b""
        if headers and not self._common_names.isdisjoint(map(str.lower, headers)):
            head = _encode_headers(merge_headers(self._common_headers, headers))
        else:
            head = self._common_head + _encode_headers(headers) if headers else self._common_head
        if body or request.method not in BODILESS_METHODS:
            head += b"Content-Length: %d\r\n" % len(body)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (request.method.encode(), path.encode(), head, body)

    # --- connections --------------------------------------------------------------------------------------------------

    def _take_idle(self) -> FastConnection | None:
        expired = self._loop.time() - KEEP_ALIVE
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable and connection.is_open and connection.idle_since > expired:
                return connection
            connection.abort()
        return None

    def _release(self, connection: FastConnection) -> None:
        if not connection.is_reusable or self._is_closed:
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    async def _connect(self, timeout: float) -> FastConnection:
        """Opens a connection to the first address that accepts one. Raises OSError."""
        async with asyncio.timeout(timeout):
            addresses = list(await self._addresses.get(None, self._resolve))
            while True:
                try:
                    return await self._connect_to(addresses)
                except OSError:
                    aiohappyeyeballs.pop_addr_infos_interleave(addresses)
                    if not addresses:
                        raise

    async def _connect_to(self, addresses: list[AddrInfoType]) -> FastConnection:
        sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            host = None if self._ssl is None else (self._origin.raw_host or "").rstrip(".")
            _, connection = await self._loop.create_connection(
                lambda: FastConnection(self._loop, self._connections), sock=sock, ssl=self._ssl, server_hostname=host
            )
        except BaseException:
            sock.close()
            raise
        if self._is_closed or not connection.is_open:
            connection.abort()
            raise ConnectionResetError("the connection was closed at once")
        return connection

    async def _resolve(self) -> list[AddrInfoType]:
        host, port = self._origin.raw_host or "", self._origin.port or 0
        if parse_address(host) is not None:
            return aiohappyeyeballs.addr_to_addr_infos((host, port)) or []
        flags = 0 if host == "localhost" else socket.AI_ADDRCONFIG  # a machine without a network has a localhost
        return [*await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)]

    def _forget_addresses(self) -> None:
        self._addresses = SingleFlightCache[None, "list[AddrInfoType]"](max_size=1, ttl=ADDRESS_LIFETIME)

    async def aclose(self) -> None:
        """Cancels requests in flight and closes every connection."""
        try:
            await super().aclose()
        finally:
            lost = self._abort_all()
            if lost:
                await asyncio.wait(lost)

    def abandon(self) -> None:
        """Closes the connections without waiting."""
        self._abort_all()
        super().abandon()

    def _abort_all(self) -> list[asyncio.Future[None]]:
        connections = [*self._connections]
        for connection in connections:
            connection.abort()
        return [connection.lost for connection in connections]


def _encode_headers(headers: Mapping[str, str]) -> bytes:
    """Returns the lines of the headers. Raises ValueError for a line break in one."""
    for name, value in headers.items():
        if FORBIDDEN_IN_HEADERS.search(name) or FORBIDDEN_IN_HEADERS.search(value):
            raise ValueError("a header contains a line break or a null character")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


@lru_cache(maxsize=2)
def ssl_context(*, verified: bool) -> SSLContext:
    """Returns the TLS context that aiohttp uses by default. Its creation reads the certificates from the disk."""
    context = create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = CERT_NONE
    context.set_alpn_protocols(("http/1.1",))
    return context
