"""The transport over aiohttp."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from ..._core import assumptions
from ..._core.errors import ConfigurationError, ResponseDecodeError
from ..._core.http.messages import Request, Response, common_headers
from .aiohttp_backends import NO_RETRY_MIDDLEWARES, FastBackend, GenericBackend
from .aiohttp_errors import AIOHTTP_ERRORS, convert_error
from .aiohttp_multipart import build_multipart
from .aiohttp_resolver import PublicResolver, public_socket
from .transport import USER_AGENT
from .watchdog import NO_TIMEOUT, TimeoutScope, Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager

    from ..._core.config import Config
    from ..._core.http.messages import MultipartForm
    from ..._core.policies import Timeouts

CHUNK_BYTES: Final = 1024 * 1024
"""What is read of a file at most, and lies ready while the piece before it is written: few ways to the disk."""


class AiohttpTransport:
    """Sends through one `aiohttp.ClientSession`: its own, or one that was handed in and is never closed."""

    def __init__(self, settings: Config, timeouts: Timeouts, http: aiohttp.ClientSession | None) -> None:
        self._settings = settings
        self._origin = URL(settings.base_url, encoded=True)
        self._prefix = self._origin.raw_path.rstrip("/")
        if http is not None and not isinstance(http, aiohttp.ClientSession):
            raise ConfigurationError(f"http must be an aiohttp.ClientSession, not {type(http).__name__}")
        loop = asyncio.get_running_loop()
        if getattr(http, "_loop", loop) is not loop:
            raise ConfigurationError(
                "the http that was handed in lives on another event loop: make the aiohttp.ClientSession on this one"
            )
        self._watchdog = Watchdog(min(timeouts.read, timeouts.total, timeouts.chat))
        self._is_closed = False
        self._open_responses: set[aiohttp.ClientResponse] = set()
        self._fast_backend: FastBackend | None = None
        self._public_session: aiohttp.ClientSession | None = None
        if http is None:
            connector = aiohttp.TCPConnector(limit=0)  # the gate bounds what is in flight
            http = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            self._fast_backend = FastBackend(
                connector, self._origin, timeouts, common_headers(settings.api_key, USER_AGENT), self._watchdog
            )
        self._http: aiohttp.ClientSession = http
        self._generic_backend = GenericBackend(http, timeouts, settings.api_key, self._watchdog)
        self._stream_timeout = aiohttp.ClientTimeout(sock_connect=timeouts.connect, sock_read=timeouts.read)
        self._upload_timeout = aiohttp.ClientTimeout(
            total=timeouts.upload, sock_connect=timeouts.connect, sock_read=timeouts.read
        )
        self._fetch_timeout = aiohttp.ClientTimeout(
            total=timeouts.download, sock_connect=timeouts.connect, sock_read=timeouts.read
        )

    @property
    def max_connections(self) -> int:
        """What the connector bears: a request that waits for it would use up its time-out without being sent."""
        limit = self._http.connector.limit if self._http.connector is not None else 0
        return limit or sys.maxsize

    async def send(self, request: Request) -> Response:
        """Send it once and read the answer to its end."""
        self._check_open()
        channel = (
            self._fast_backend if self._fast_backend is not None and request.needs_api_key else self._generic_backend
        )
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        try:
            with channel.timeout_scope(request) as attempt:
                response = await channel.send(request, url)
                return Response(response.status, response.headers, await _read_body(response, attempt))
        except AIOHTTP_ERRORS as error:
            failure = convert_error(error, url)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - it is the same; aiohttp's frames hold the key
        # Raised out here: aiohttp's exceptions hold the request's headers, the key among them.
        try:
            raise failure
        finally:
            del failure  # an error that its own traceback holds would wait for the garbage collector

    def fetch(
        self, url: str, headers: Mapping[str, str], *, only_public: bool
    ) -> AbstractAsyncContextManager[_AiohttpStreamingResponse]:
        """GET an absolute URL of any host, without the API key, and stream the answer. A redirect is an answer.

        `only_public`: raises `DownloadError` where the host is not on the public internet. Whoever handed in an
        `aiohttp.ClientSession` decides with its connector where names lead.
        """
        self._check_open()
        address = _parse_absolute_url(url)
        http = self._get_public_session() if only_public and self._fast_backend is not None else self._http
        asked = http.get(
            address,
            headers={"Accept-Encoding": "identity", **headers},  # lengths and ranges are those of the file
            timeout=self._fetch_timeout,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            read_bufsize=CHUNK_BYTES,
            middlewares=NO_RETRY_MIDDLEWARES,
        )
        return self._stream_response(asked, address)

    def stream(self, request: Request) -> AbstractAsyncContextManager[_AiohttpStreamingResponse]:
        """Send it once and read the answer piece by piece, for as long as there is one now and then."""
        self._check_open()
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        asked = self._http.request(
            request.method,
            url,
            data=request.body,
            headers=request.headers(self._settings.api_key, USER_AGENT),
            timeout=self._stream_timeout,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            middlewares=NO_RETRY_MIDDLEWARES,
        )
        return self._stream_response(asked, url)

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        """Send it once as a form with this file, as it is read, and read the answer to its end."""
        self._check_open()
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        try:
            async with self._http.request(
                request.method,
                url,
                data=build_multipart(form, file),
                headers=request.headers(self._settings.api_key, USER_AGENT),
                timeout=self._upload_timeout,
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=True,
                middlewares=NO_RETRY_MIDDLEWARES,
            ) as response:
                return Response(response.status, response.headers, await _read_body(response))
        except AIOHTTP_ERRORS as error:
            failure = convert_error(error, url)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - as in `send`
        try:
            raise failure
        finally:
            del failure

    @asynccontextmanager
    async def _stream_response(
        self, asked: Awaitable[aiohttp.ClientResponse], address: URL
    ) -> AsyncIterator[_AiohttpStreamingResponse]:
        try:
            with TimeoutScope(self._watchdog, NO_TIMEOUT):
                response = await asked
        except AIOHTTP_ERRORS as error:
            failure = convert_error(error, address)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - as in `send`
        else:
            self._open_responses.add(response)
            try:
                yield _AiohttpStreamingResponse(response, address)
            finally:
                self._open_responses.discard(response)
                response.close()
            return
        raise failure

    def _get_public_session(self) -> aiohttp.ClientSession:
        """Our own connections to public addresses only, made when a redirect is followed for the first time."""
        if self._public_session is None:
            connector = aiohttp.TCPConnector(limit=0, resolver=PublicResolver(), socket_factory=public_socket)
            self._public_session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._public_session

    @property
    def _owned_sessions(self) -> list[aiohttp.ClientSession]:
        """What is ours to close."""
        own = [] if self._fast_backend is None else [self._fast_backend.http, self._http]
        return own if self._public_session is None else [*own, self._public_session]

    def _check_open(self) -> None:
        if self._is_closed or self._http.closed:
            raise ConfigurationError("the session's connections are closed: make a new RivyaSession")

    async def aclose(self) -> None:
        """Close every connection of our own, and cut what is still on its way."""
        self._is_closed = True
        self._watchdog.cancel_all()
        for response in self._open_responses:
            response.close()
        for http in self._owned_sessions:
            await http.close()

    def abandon(self) -> None:
        """Let go of our own connections without waiting for them."""
        for http in self._owned_sessions:
            closing = http.close()
            with suppress(StopIteration):
                closing.send(None)  # up to its first wait: by then every connection is told to close
            closing.close()


class _AiohttpStreamingResponse:
    def __init__(self, response: aiohttp.ClientResponse, url: URL) -> None:
        self._response = response
        self._url = url
        self.head = Response(response.status, response.headers, b"")

    async def read(self) -> bytes:
        content = self._response.content
        try:
            return await content.read(CHUNK_BYTES)
        except AIOHTTP_ERRORS as error:
            if unread := _read_buffered(content, error):
                return unread  # the next call tells how it broke off
            failure = convert_error(error, self._url)
        raise failure


def _read_buffered(content: aiohttp.StreamReader, error: Exception) -> bytes:
    """What had come before the connection broke, which aiohttp hides behind the error; nothing if time is up."""
    content.set_exception(None)  # type: ignore[arg-type]
    try:
        return content.read_nowait()
    except TimeoutError:
        return b""
    finally:
        content.set_exception(error)


def _parse_absolute_url(url: str) -> URL:
    try:
        address = URL(url)
    except ValueError:
        raise ConfigurationError(f"{url!r} is not a URL") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise ConfigurationError(f"{url!r} is not a URL that can be downloaded: it needs http or https and a host")
    return address


async def _read_body(response: aiohttp.ClientResponse, attempt: TimeoutScope | None = None) -> bytes:
    """The body, in memory up to a bound."""
    content = response.content
    try:
        if not content.is_eof():
            return await _read_chunks(content, attempt)
        body = content.read_nowait()  # as good as always: it came with the headers. Saves 4 us
        _check_body_size(body)
        return body
    finally:
        if not response.closed:
            response.close()


async def _read_chunks(content: aiohttp.StreamReader, attempt: TimeoutScope | None) -> bytes:
    """The body as it comes, measured after each piece."""
    body = bytearray()
    while piece := await content.readany():
        if attempt is not None:
            attempt.reset_read_timeout()
        body += piece
        _check_body_size(body)
    return bytes(body)


def _check_body_size(body: bytes | bytearray) -> None:
    if len(body) > assumptions.MAX_RESPONSE_BYTES:
        raise ResponseDecodeError(
            f"the answer is longer than {assumptions.MAX_RESPONSE_BYTES} bytes and was not read on", reason="too long"
        )
