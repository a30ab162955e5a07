"""Ways to send a request over aiohttp: through any session, or faster through a session of the transport."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import aiohttp
from aiohttp.helpers import get_env_proxy_for_url

from ..._core.http.addresses import is_public, parse_address
from ..._core.http.messages import common_headers, merge_headers
from ..._core.http.redirects import private_address_error
from .aiohttp_errors import ConnectionLost
from .transport import USER_AGENT
from .watchdog import NO_TIMEOUT, AttemptTimeouts, TimeoutScope, Watchdog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from aiohttp import ClientHandlerType, ClientMiddlewareType
    from aiohttp.connector import Connection
    from multidict import CIMultiDict
    from yarl import URL

    from ..._core.config import Config
    from ..._core.http.messages import Request
    from ..._core.policies import Timeouts


async def _send_once(request: aiohttp.ClientRequest, send: ClientHandlerType) -> aiohttp.ClientResponse:
    """Replaces the errors after which aiohttp silently repeats a GET on a new connection."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLost(error) from None


NO_RETRY_MIDDLEWARES: Final = (_send_once,)


MAX_FIELD_BYTES: Final = 64 * 1024
"""Maximum size of a header of a response in bytes. Some services send long cookies or policies."""
FILE_CHUNK_BYTES: Final = 1024 * 1024
"""Maximum bytes of a chunk of a streamed response. Large chunks need few writes to the disk."""


class HttpBackend(Protocol):
    """Sends requests of one service over aiohttp."""

    def timeout_scope(self, request: Request) -> TimeoutScope:
        """Returns a scope that bounds the time of one request and its response, and can be cancelled."""
        ...

    def send(self, request: Request, url: URL) -> Awaitable[aiohttp.ClientResponse]:
        """Sends the request; returns the response when its headers have arrived."""
        ...


class Connector(aiohttp.TCPConnector):
    """A connector that reports a connection to a proxy that was lost before the tunnel was open as not connected."""

    async def _create_proxy_connection(
        self, req: aiohttp.ClientRequest, *arguments: Any, **options: Any
    ) -> tuple[asyncio.BaseTransport, Any]:
        try:
            return await super()._create_proxy_connection(req, *arguments, **options)
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError):
            raise
        except aiohttp.ClientError as error:  # aiohttp would repeat the request, or the outcome would seem unknown
            reason = OSError(f"no tunnel: {type(error).__name__}")
            raise aiohttp.ClientProxyConnectionError(req.connection_key, reason) from None


@lru_cache(maxsize=64)
def client_timeouts(timeouts: Timeouts) -> ClientTimeouts:
    """Returns the timeouts as aiohttp takes them."""
    connect, read = timeouts.connect, timeouts.read
    return ClientTimeouts(
        call=aiohttp.ClientTimeout(total=timeouts.total, sock_connect=connect, sock_read=read),
        long_running=aiohttp.ClientTimeout(total=timeouts.chat, sock_connect=connect),
        stream=aiohttp.ClientTimeout(sock_connect=connect, sock_read=read),
        upload=aiohttp.ClientTimeout(total=timeouts.upload, sock_connect=connect, sock_read=read),
        watched=aiohttp.ClientTimeout(total=None, connect=connect),
    )


class ClientTimeouts(NamedTuple):
    """Timeouts of aiohttp by the way to send. `watched` leaves all but the connect to the watchdog."""

    call: aiohttp.ClientTimeout
    long_running: aiohttp.ClientTimeout
    stream: aiohttp.ClientTimeout
    upload: aiohttp.ClientTimeout
    watched: aiohttp.ClientTimeout


def timeouts_of(request: Request, default: Timeouts) -> Timeouts:
    """Returns the timeouts of the request: those of its view, or else the session's."""
    return default if request.options is None else request.options.timeouts or default


class GenericBackend:
    """Sends through any `aiohttp.ClientSession`. aiohttp enforces the timeouts."""

    def __init__(self, http: aiohttp.ClientSession, timeouts: Timeouts, config: Config, watchdog: Watchdog) -> None:
        self._http = http
        self._watchdog = watchdog
        self._timeouts = timeouts
        headers = common_headers(None, USER_AGENT)
        if "User-Agent" in http.headers:
            del headers["User-Agent"]  # the caller's own
        self._headers = merge_headers(headers, config.headers)
        others = getattr(http, "_middlewares", ())  # the argument below replaces them
        self._middlewares = (_authorization(http, config.api_key), _send_once, *others)
        self._keyless_middlewares = (_authorization(http, None), _send_once, *others)

    def timeout_scope(self, _request: Request) -> TimeoutScope:
        """Returns a scope without a timeout, which can be cancelled."""
        return TimeoutScope(self._watchdog, NO_TIMEOUT)

    def send(
        self,
        request: Request,
        url: URL,
        timeout: aiohttp.ClientTimeout | None = None,
        form: aiohttp.MultipartWriter | None = None,
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Sends the request, with a form in place of its body if one is given."""
        if timeout is None:
            timeouts = client_timeouts(timeouts_of(request, self._timeouts))
            timeout = timeouts.long_running if request.is_long_running else timeouts.call
        return self._http.request(
            request.method,
            url,
            data=request.body if form is None else form,
            headers=merge_headers(self._headers, request.specific_headers),
            timeout=timeout,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            max_line_size=MAX_FIELD_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            middlewares=self._middlewares if request.needs_api_key else self._keyless_middlewares,
        )


def _authorization(http: aiohttp.ClientSession, api_key: str | None) -> ClientMiddlewareType:
    """Returns a middleware that sets the API key.

    As an argument of the request, aiohttp would reject it together with credentials of `http` or of `.netrc`. A request
    without API key is sent without the credentials of `.netrc`.
    """
    has_credentials = http.auth is not None or "Authorization" in http.headers

    async def authorize(request: aiohttp.ClientRequest, send: ClientHandlerType) -> aiohttp.ClientResponse:
        if api_key is not None:
            request.headers["Authorization"] = f"Bearer {api_key}"
        elif not has_credentials:
            request.headers.pop("Authorization", None)
        return await send(request)

    return authorize


class FastBackend:
    """Sends through a session of its own, for requests to one service that need the API key.

    It adds a fifth less to bare aiohttp than `GenericBackend`: prebuilt headers save 8 us per request, the watchdog
    13 us, no middleware 3 us, and no compression of short responses 11 us. If aiohttp renamed the methods that are
    overridden here, its own would run instead, and requests would only be slower.
    """

    def __init__(
        self, http: aiohttp.ClientSession, origin: URL, timeouts: Timeouts, config: Config, watchdog: Watchdog
    ) -> None:
        self._watchdog = watchdog
        self._timeouts = timeouts
        self._attempt_timeouts = AttemptTimeouts(timeouts.total, timeouts.read)
        self._long_running_timeouts = AttemptTimeouts(timeouts.chat)
        proxy = config.proxy or (_environment_proxy(origin) if http.trust_env else None)
        self.has_proxy = proxy is not None
        headers = {
            "Host": origin.host_port_subcomponent or "",
            "Accept-Encoding": "identity",
            **merge_headers(common_headers(config.api_key, USER_AGENT), config.headers),
        }
        # aiohttp sends the headers of a session with CONNECT too, so a proxy would receive the API key.
        self._request_headers = {} if proxy is None else headers
        self.http = aiohttp.ClientSession(
            connector=http.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers if proxy is None else {},
            timeout=client_timeouts(timeouts).watched,
            request_class=_PrebuiltRequest,
            response_class=_response_class(watchdog),
            max_line_size=MAX_FIELD_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            proxy=proxy,
        )

    def timeout_scope(self, request: Request) -> TimeoutScope:
        """Returns a scope that bounds the time of one request and its response."""
        if request.options is not None and request.options.timeouts is not None:
            timeouts = request.options.timeouts
            self._watchdog.allow(timeouts)
            limits = (timeouts.chat,) if request.is_long_running else (timeouts.total, timeouts.read)
            return TimeoutScope(self._watchdog, AttemptTimeouts(*limits))
        return TimeoutScope(
            self._watchdog, self._long_running_timeouts if request.is_long_running else self._attempt_timeouts
        )

    def send(self, request: Request, url: URL) -> Awaitable[aiohttp.ClientResponse]:
        """Sends the request; returns the response when its headers have arrived."""
        headers = request.specific_headers
        if self._request_headers:
            headers = merge_headers(self._request_headers, headers)
        if request.options is None:
            return self.http.request(request.method, url, data=request.body, headers=headers, allow_redirects=False)
        timeout = client_timeouts(timeouts_of(request, self._timeouts)).watched
        return self.http.request(
            request.method, url, data=request.body, headers=headers, timeout=timeout, allow_redirects=False
        )


def _environment_proxy(url: URL) -> URL | None:
    """Returns the proxy that the environment names for this URL, with its credentials."""
    try:
        proxy, credentials = get_env_proxy_for_url(url)
    except LookupError:
        return None
    return proxy if credentials is None else proxy.with_user(credentials.login).with_password(credentials.password)


class _PrebuiltRequest(aiohttp.ClientRequest):
    """A request that takes its headers unchanged: those of the session, merged with its own."""

    def update_headers(self, headers: Any) -> None:
        self.headers: CIMultiDict[str] = headers

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        pass


def _response_class(watchdog: Watchdog) -> type[aiohttp.ClientResponse]:
    class WatchedResponse(aiohttp.ClientResponse):
        """A response that notifies the watchdog, and converts lost connections as `_send_once` does."""

        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            watchdog.on_request_sent(connection.transport)
            try:
                return await super().start(connection)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                raise ConnectionLost(error) from None

    return WatchedResponse


# --- files ------------------------------------------------------------------------------------------------------------


def create_file_session(http: aiohttp.ClientSession, *, only_public: bool) -> aiohttp.ClientSession:
    """Creates a session for files, which shares the connector and the proxy of `http`, and nothing else.

    Its requests have no headers, credentials or cookies of `http`. With `only_public` they are sent to public addresses
    only, unless a proxy, or a connector with its own way to connect, resolves the names.
    """
    return aiohttp.ClientSession(
        connector=http.connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},  # lengths and ranges are those of the file
        auto_decompress=False,
        raise_for_status=False,
        middlewares=NO_RETRY_MIDDLEWARES,
        read_bufsize=FILE_CHUNK_BYTES,
        max_line_size=MAX_FIELD_BYTES,
        max_field_size=MAX_FIELD_BYTES,
        request_class=_PublicRequest if only_public and _connects_itself(http.connector) else aiohttp.ClientRequest,
        proxy=getattr(http, "_default_proxy", None),
        proxy_auth=getattr(http, "_default_proxy_auth", None),
    )


def environment_proxy(http: aiohttp.ClientSession, url: URL) -> dict[str, Any]:
    """Returns the arguments of a request with the proxy that the environment names for this URL, if `http` uses it.

    `trust_env` of the session for files stays off: it would also send the credentials of `.netrc` to file hosts.
    """
    if not http.trust_env or getattr(http, "_default_proxy", None) is not None:
        return {}
    proxy = _environment_proxy(url)
    return {} if proxy is None else {"proxy": proxy}


def _connects_itself(connector: aiohttp.BaseConnector | None) -> bool:
    """Returns False for a connector that connects through something else, such as a SOCKS proxy."""
    if not isinstance(connector, aiohttp.TCPConnector):
        return False
    methods = ("_create_connection", "_wrap_create_connection")
    return all(getattr(type(connector), name, None) is getattr(aiohttp.TCPConnector, name, None) for name in methods)


class _PublicRequest(aiohttp.ClientRequest):
    """A request that is sent to public addresses only.

    It checks the address of the connection itself: a name cannot change its address after the check, and the URL may
    have an address in place of a name.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        peer = None if conn.transport is None else conn.transport.get_extra_info("peername")
        if self.proxy is None and isinstance(peer, tuple):
            address = parse_address(str(peer[0]))
            if address is None or not is_public(address):
                raise private_address_error(self.url.host or "")
        return await super().send(conn)
