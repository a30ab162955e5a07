"""The transport over aiohttp: calls, uploads, and streamed responses."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from ..._core.errors import ConfigurationError, RequestNotSentError, ResponseDecodeError
from ..._core.http.messages import Request, Response
from ..._core.http.redirects import encode_link
from .aiohttp_backends import (
    FILE_CHUNK_BYTES,
    Connector,
    FastBackend,
    GenericBackend,
    client_timeouts,
    create_file_session,
    environment_proxy,
    timeouts_of,
)
from .aiohttp_errors import AIOHTTP_ERRORS, convert_error
from .watchdog import NO_TIMEOUT, TimeoutScope, Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager
    from ssl import SSLContext

    from ..._core.config import Config
    from ..._core.errors import RivyaError
    from ..._core.http.messages import MultipartForm
    from ..._core.policies import Timeouts


class AiohttpTransport:
    """Sends through one `aiohttp.ClientSession`: its own, or the caller's, which it never closes."""

    def __init__(
        self,
        config: Config,
        timeouts: Timeouts,
        http: aiohttp.ClientSession | None,
        *,
        trust_env: bool = False,
        ssl: SSLContext | aiohttp.Fingerprint | bool = True,
    ) -> None:
        self._origin = URL(config.base_url, encoded=True)
        self._prefix = self._origin.raw_path.rstrip("/")
        if http is not None and not isinstance(http, aiohttp.ClientSession):
            raise ConfigurationError(f"http must be an aiohttp.ClientSession, not {type(http).__name__}")
        loop = asyncio.get_running_loop()
        if getattr(http, "_loop", loop) is not loop:
            raise ConfigurationError(
                "http belongs to another event loop: create the aiohttp.ClientSession on the running loop"
            )
        self._watchdog = Watchdog()
        self._watchdog.allow(timeouts)
        self._timeouts = timeouts
        self._is_closed = False
        self._open_responses: set[aiohttp.ClientResponse] = set()
        self._fast_backend: FastBackend | None = None
        self._file_sessions: dict[bool, aiohttp.ClientSession] = {}
        """Sessions for files, by `only_public`."""
        if http is None:
            connector = Connector(limit=0, ssl=ssl)  # the limiter bounds requests in flight
            http = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), proxy=config.proxy, trust_env=trust_env
            )
            self._fast_backend = FastBackend(http, self._origin, timeouts, config, self._watchdog)
        self._http: aiohttp.ClientSession = http
        self._generic_backend = GenericBackend(http, timeouts, config, self._watchdog)
        self._fetch_timeout = aiohttp.ClientTimeout(
            total=timeouts.download, sock_connect=timeouts.connect, sock_read=timeouts.read
        )

    @property
    def max_connections(self) -> int:
        """Maximum connections of the connector. A request that waits for a connection uses up its timeout."""
        limit = self._http.connector.limit if self._http.connector is not None else 0
        return limit or sys.maxsize

    async def send(self, request: Request) -> Response:
        """Sends the request once and reads the whole response."""
        self._check_open()
        backend = (
            self._fast_backend if self._fast_backend is not None and request.needs_api_key else self._generic_backend
        )
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        try:
            with backend.timeout_scope(request) as scope:
                response = await backend.send(request, url)
                body = await _read_body(response, request.max_response_bytes, scope)
                return Response(response.status, response.headers, body)
        except AIOHTTP_ERRORS as error:
            failure = self._convert_error(error, url)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - the same error, without frames that hold the key
        # Raised outside of the except block: the context of an error would hold the request's headers and API key.
        try:
            raise failure
        finally:
            del failure  # breaks the reference cycle between the error and its traceback

    def fetch(
        self, url: str, headers: Mapping[str, str], *, only_public: bool
    ) -> AbstractAsyncContextManager[_AiohttpStreamingResponse]:
        """Streams the response to a GET of an absolute URL of any host, without API key. Follows no redirects.

        `only_public`: raises `DownloadError` for a host with a private address; see `create_file_session`.
        """
        self._check_open()
        parsed_url = _parse_absolute_url(url)
        if only_public not in self._file_sessions:
            self._file_sessions[only_public] = create_file_session(self._http, only_public=only_public)
        sending = self._file_sessions[only_public].get(
            parsed_url,
            headers=headers,
            timeout=self._fetch_timeout,
            allow_redirects=False,
            **environment_proxy(self._http, parsed_url),
        )
        return self._stream_response(sending, parsed_url)

    def stream(self, request: Request) -> AbstractAsyncContextManager[_AiohttpStreamingResponse]:
        """Sends the request once and streams the response, without a limit on the total time."""
        self._check_open()
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        timeout = client_timeouts(timeouts_of(request, self._timeouts)).stream
        return self._stream_response(self._generic_backend.send(request, url, timeout), url)

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        """Sends the request once as a form with this file, and reads the whole response."""
        self._check_open()
        url = self._origin.with_path(self._prefix + request.path, encoded=True)
        form_body = _build_multipart(form, file)
        try:
            timeout = client_timeouts(timeouts_of(request, self._timeouts)).upload
            sending = self._generic_backend.send(request, url, timeout, form_body)
            async with await sending as response:  # its end waits until aiohttp no longer reads the file
                body = await _read_body(response, request.max_response_bytes)
                return Response(response.status, response.headers, body)
        except AIOHTTP_ERRORS as error:
            failure = self._convert_error(error, url)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - as in `send`
        try:
            raise failure
        finally:
            del failure

    @asynccontextmanager
    async def _stream_response(
        self, sending: Awaitable[aiohttp.ClientResponse], url: URL
    ) -> AsyncIterator[_AiohttpStreamingResponse]:
        try:
            with TimeoutScope(self._watchdog, NO_TIMEOUT):
                response = await sending
        except AIOHTTP_ERRORS as error:
            failure = self._convert_error(error, url)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None)  # noqa: B904 - as in `send`
        else:
            self._open_responses.add(response)
            try:
                yield _AiohttpStreamingResponse(response, url)
            finally:
                self._open_responses.discard(response)
                response.close()
            return
        raise failure

    @property
    def _owned_sessions(self) -> list[aiohttp.ClientSession]:
        owned = [] if self._fast_backend is None else [self._fast_backend.http, self._http]
        return [*self._file_sessions.values(), *owned]

    def _convert_error(self, error: Exception, url: URL, *, not_sent: bool = False) -> RivyaError:
        failure = convert_error(error, url, not_sent=not_sent)
        if isinstance(failure, RequestNotSentError) and isinstance(self._http.connector, aiohttp.TCPConnector):
            self._http.connector.clear_dns_cache()  # the address may have changed: the retry resolves the name again
        return failure

    def _check_open(self) -> None:
        if self._is_closed or self._http.closed:
            raise ConfigurationError("the session's connections are closed: make a new RivyaSession")

    async def aclose(self) -> None:
        """Cancels requests in flight and closes every owned connection."""
        self._is_closed = True
        self._watchdog.cancel_all()
        for response in self._open_responses:
            response.close()
        for http in self._owned_sessions:
            await http.close()

    def abandon(self) -> None:
        """Closes the owned connections without waiting."""
        for http in self._owned_sessions:
            closing = http.close()
            with suppress(StopIteration):
                closing.send(None)  # runs up to its first wait: every connection is closing by then
            closing.close()


class _AiohttpStreamingResponse:
    def __init__(self, response: aiohttp.ClientResponse, url: URL) -> None:
        self._response = response
        self._url = url
        self.head = Response(response.status, response.headers, b"")

    async def read(self) -> bytes:
        content = self._response.content
        try:
            return await content.read(FILE_CHUNK_BYTES)
        except AIOHTTP_ERRORS as error:
            if buffered := _read_buffered(content, error):
                return buffered  # the next call raises the error
            failure = convert_error(error, self._url)
        raise failure


def _read_buffered(content: aiohttp.StreamReader, error: Exception) -> bytes:
    """Returns the bytes that arrived before the connection was lost; none after a timeout.

    aiohttp raises the error before it returns these bytes.
    """
    content.set_exception(None)  # type: ignore[arg-type]
    try:
        return content.read_nowait()
    except TimeoutError:
        return b""
    finally:
        content.set_exception(error)


def _parse_absolute_url(url: str) -> URL:
    """Returns the URL without any change of its path and query; only the host is converted to ASCII."""
    try:
        parsed = URL(encode_link(url), encoded=True)
        if not url.isascii():
            parsed = parsed.with_host(URL(url.strip()).raw_host or "")
    except ValueError:
        raise ConfigurationError("the file is at an invalid URL") from None
    if parsed.scheme not in {"http", "https"} or not parsed.raw_host:
        raise ConfigurationError("the file is at a URL that cannot be downloaded: it needs http or https and a host")
    return parsed


async def _read_body(response: aiohttp.ClientResponse, limit: int, scope: TimeoutScope | None = None) -> bytes:
    content = response.content
    try:
        if not content.is_eof():
            return await _read_chunks(content, limit, scope)
        body = content.read_nowait()  # a short body nearly always arrives with the headers: saves 4 us
        check_body_size(len(body), limit)
        return body
    finally:
        if not response.closed:
            response.close()


async def _read_chunks(content: aiohttp.StreamReader, limit: int, scope: TimeoutScope | None) -> bytes:
    body = bytearray()
    while chunk := await content.readany():
        if scope is not None:
            scope.reset_read_timeout()
        body += chunk
        check_body_size(len(body), limit)
    return bytes(body)


def check_body_size(size: int, limit: int) -> None:
    """Raises `ResponseDecodeError` for a body of more than `limit` bytes."""
    if size > limit:
        raise ResponseDecodeError(f"the response is longer than {limit} bytes: it was not read", reason="too long")


class _FilePart(aiohttp.payload.AsyncIterablePayload):
    """The file of a form. If its size is known, the request has a length, which some servers require."""

    def __init__(self, form: MultipartForm, file: AsyncIterator[bytes]) -> None:
        super().__init__(file, content_type=form.mime_type)
        self._size = form.size
        self.set_content_disposition("form-data", quote_fields=False, name="file", filename=form.filename)


def _build_multipart(form: MultipartForm, file: AsyncIterator[bytes]) -> aiohttp.MultipartWriter:
    """Builds the form. The fields precede the file, so that a server can check them before it reads the file."""
    body = aiohttp.MultipartWriter("form-data")
    for name, value in form.fields.items():
        body.append(value).set_content_disposition("form-data", quote_fields=False, name=name)
    body.append_payload(_FilePart(form, file))
    return body
