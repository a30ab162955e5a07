"""The transport over aiohttp."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from .._core import assumed
from .._core.errors import ConfigurationError, DecodeError
from .._core.message import Request, Response, common_headers
from .aiohttp_channels import SEND_ONCE, LeanChannel, PlainChannel
from .aiohttp_failures import FOREIGN, sorted_failure
from .aiohttp_multipart import multipart
from .aiohttp_resolver import PublicResolver, public_socket
from .watchdog import ENDLESS, Attempt, Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager

    from .._core.message import Form
    from .._core.policies import Timeouts
    from .._core.settings import Settings

CHUNK_BYTES: Final = 1024 * 1024
"""What is read of a file at most, and lies ready while the piece before it is written: few ways to the disk."""


class AiohttpTransport:
    """Sends through one `aiohttp.ClientSession`: its own, or one that was handed in and is never closed."""

    def __init__(self, settings: Settings, timeouts: Timeouts, http: aiohttp.ClientSession | None) -> None:
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
        self._fetching: set[aiohttp.ClientResponse] = set()
        self._lean: LeanChannel | None = None
        self._public: aiohttp.ClientSession | None = None
        if http is None:
            connector = aiohttp.TCPConnector(limit=0)  # the gate bounds what is in flight
            http = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            self._lean = LeanChannel(
                connector, self._origin, timeouts, common_headers(settings.api_key), self._watchdog
            )
        self._http: aiohttp.ClientSession = http
        self._plain = PlainChannel(http, timeouts, settings.api_key, self._watchdog)
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
        channel = self._lean if self._lean is not None and request.needs_api_key else self._plain
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        try:
            with channel.attempt(request) as attempt:
                response = await channel.ask(request, url)
                return Response(response.status, response.headers, await _read(response, attempt))
        except FOREIGN as error:
            failure = sorted_failure(error, url)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - it is the same; aiohttp's frames hold the key
        # Raised out here: aiohttp's exceptions hold the request's headers, the key among them.
        try:
            raise failure
        finally:
            del failure  # an error that its own traceback holds would wait for the garbage collector

    def fetch(
        self, url: str, headers: Mapping[str, str], *, only_public: bool
    ) -> AbstractAsyncContextManager[_Fetched]:
        """GET an absolute URL of any host, without the API key, and stream the answer. A redirect is an answer.

        `only_public`: raises `DownloadError` where the host is not on the public internet. Whoever handed in an
        `aiohttp.ClientSession` decides with its connector where names lead.
        """
        self._check_open()
        address = _absolute(url)
        http = self._public_http() if only_public and self._lean is not None else self._http
        asked = http.get(
            address,
            headers={"Accept-Encoding": "identity", **headers},  # lengths and ranges are those of the file
            timeout=self._fetch_timeout,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            read_bufsize=CHUNK_BYTES,
            middlewares=SEND_ONCE,
        )
        return self._fetched(asked, address)

    def stream(self, request: Request) -> AbstractAsyncContextManager[_Fetched]:
        """Send it once and read the answer piece by piece, for as long as there is one now and then."""
        self._check_open()
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        asked = self._http.request(
            request.method,
            url,
            data=request.body,
            headers=request.headers(self._settings.api_key),
            timeout=self._stream_timeout,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            middlewares=SEND_ONCE,
        )
        return self._fetched(asked, url)

    async def upload(self, request: Request, form: Form, file: AsyncIterator[bytes]) -> Response:
        """Send it once as a form with this file, as it is read, and read the answer to its end."""
        self._check_open()
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        try:
            async with self._http.request(
                request.method,
                url,
                data=multipart(form, file),
                headers=request.headers(self._settings.api_key),
                timeout=self._upload_timeout,
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=True,
                middlewares=SEND_ONCE,
            ) as response:
                return Response(response.status, response.headers, await _read(response))
        except FOREIGN as error:
            failure = sorted_failure(error, url)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - as in `send`
        try:
            raise failure
        finally:
            del failure

    @asynccontextmanager
    async def _fetched(self, asked: Awaitable[aiohttp.ClientResponse], address: URL) -> AsyncIterator[_Fetched]:
        try:
            with Attempt(self._watchdog, ENDLESS):
                response = await asked
        except FOREIGN as error:
            failure = sorted_failure(error, address)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - as in `send`
        else:
            self._fetching.add(response)
            try:
                yield _Fetched(response, address)
            finally:
                self._fetching.discard(response)
                response.close()
            return
        raise failure

    def _public_http(self) -> aiohttp.ClientSession:
        """Our own connections to public addresses only, made when a redirect is followed for the first time."""
        if self._public is None:
            connector = aiohttp.TCPConnector(limit=0, resolver=PublicResolver(), socket_factory=public_socket)
            self._public = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._public

    @property
    def _own(self) -> list[aiohttp.ClientSession]:
        """What is ours to close."""
        own = [] if self._lean is None else [self._lean.http, self._http]
        return own if self._public is None else [*own, self._public]

    def _check_open(self) -> None:
        if self._is_closed or self._http.closed:
            raise ConfigurationError("the session's connections are closed: make a new RivyaSession")

    async def aclose(self) -> None:
        """Close every connection of our own, and cut what is still on its way."""
        self._is_closed = True
        self._watchdog.cut_all()
        for response in self._fetching:
            response.close()
        for http in self._own:
            await http.close()

    def abandon(self) -> None:
        """Let go of our own connections without waiting for them."""
        for http in self._own:
            closing = http.close()
            with suppress(StopIteration):
                closing.send(None)  # up to its first wait: by then every connection is told to close
            closing.close()


class _Fetched:
    def __init__(self, response: aiohttp.ClientResponse, url: URL) -> None:
        self._response = response
        self._url = url
        self.head = Response(response.status, response.headers, b"")

    async def read(self) -> bytes:
        content = self._response.content
        try:
            return await content.read(CHUNK_BYTES)
        except FOREIGN as error:
            if unread := _unread(content, error):
                return unread  # the next call tells how it broke off
            failure = sorted_failure(error, self._url)
        raise failure


def _unread(content: aiohttp.StreamReader, error: Exception) -> bytes:
    """What had come before the connection broke, which aiohttp hides behind the error; nothing if time is up."""
    content.set_exception(None)  # type: ignore[arg-type]
    try:
        return content.read_nowait()
    except TimeoutError:
        return b""
    finally:
        content.set_exception(error)


def _absolute(url: str) -> URL:
    try:
        address = URL(url)
    except ValueError:
        raise ConfigurationError(f"{url!r} is not a URL") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise ConfigurationError(f"{url!r} is not a URL that can be downloaded: it needs http or https and a host")
    return address


async def _read(response: aiohttp.ClientResponse, attempt: Attempt | None = None) -> bytes:
    """The body, in memory up to a bound."""
    content = response.content
    try:
        if not content.is_eof():
            return await _read_on(content, attempt)
        body = content.read_nowait()  # as good as always: it came with the headers. Saves 4 us
        _check_length(body)
        return body
    finally:
        if not response.closed:
            response.close()


async def _read_on(content: aiohttp.StreamReader, attempt: Attempt | None) -> bytes:
    """The body as it comes, measured after each piece."""
    body = bytearray()
    while piece := await content.readany():
        if attempt is not None:
            attempt.heard()
        body += piece
        _check_length(body)
    return bytes(body)


def _check_length(body: bytes | bytearray) -> None:
    if len(body) > assumed.MAX_RESPONSE_BYTES:
        raise DecodeError(
            f"the answer is longer than {assumed.MAX_RESPONSE_BYTES} bytes and was not read on", reason="too long"
        )
