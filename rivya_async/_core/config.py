"""Settings of the connection: API key, base URL, proxy and headers, from arguments and the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import wraps
from typing import TYPE_CHECKING, Final, NoReturn, ParamSpec, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from .errors import ConfigurationError
from .http.addresses import is_local_host, is_loopback_host
from .http.messages import merge_headers

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_BASE_URL: Final = "https://rivya.ai"
"""Production origin (contract section 1)."""

API_KEY_VARIABLE: Final = "RIVYA_API_KEY"
BASE_URL_VARIABLE: Final = "RIVYA_BASE_URL"

USER_AGENT: Final = "User-Agent"

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

RESERVED_HEADERS: Final = {
    "authorization": "pass api_key",
    "idempotency-key": "pass idempotency_key to the call",
    "proxy-authorization": "put user and password into the URL of the proxy",
    **dict.fromkeys(
        ("accept", "accept-encoding", "content-type", "content-encoding", "content-length", "transfer-encoding"),
        "the session sets it",
    ),
    **dict.fromkeys(("connection", "host", "te", "trailer", "upgrade", "expect"), "the session sets it"),
}
"""Headers that a caller cannot set, in lower case, with the advice for each."""

URL_PUNCTUATION: Final = "%/:@!$&'()*+,;=~"
"""Characters of a URL path, besides letters and digits, that are not percent-encoded."""


def hides_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Returns the function without its frames in the traceback of a `ConfigurationError`.

    Tools that record local variables would otherwise show API key, environment and passwords.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except ConfigurationError as error:
            failure = error.with_traceback(None)
        finally:
            del args, kwargs
        try:
            raise failure
        finally:
            del failure  # breaks the reference cycle between the error and its traceback

    return wrapper


@attrs.frozen
class Config:
    """Settings of the connection. The repr omits the API key, the proxy and the headers, which may contain secrets."""

    api_key: str | None = attrs.field(repr=False)
    base_url: str
    """The origin without a trailing slash, in ASCII."""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Default headers of every request to the API."""
    proxy: str | None = attrs.field(default=None, repr=False)
    """URL of the proxy of every request, with user and password if it needs them."""

    @classmethod
    @hides_arguments
    def resolve(
        cls,
        environ: Mapping[str, str],
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        user_agent: str | None = None,
        proxy: str | None = None,
        allow_plain_http: bool = False,
    ) -> Config:
        """Returns the arguments, else `RIVYA_API_KEY` and `RIVYA_BASE_URL`; blank variables count as unset.

        Plain http to a host that is not local raises `ConfigurationError` without `allow_plain_http`.
        """
        key = api_key if api_key is not None else environ.get(API_KEY_VARIABLE)
        url = _strip("base_url", base_url) or _strip(BASE_URL_VARIABLE, environ.get(BASE_URL_VARIABLE))
        return cls(
            _validate_api_key(key),
            _validate_base_url(url or DEFAULT_BASE_URL, allow_plain_http=allow_plain_http),
            validate_headers(headers, user_agent),
            validate_proxy(proxy),
        )

    @property
    def is_local(self) -> bool:
        """True if the service runs on this machine, as the sandbox does."""
        return is_loopback_host(self._host)

    def is_service_host(self, host: str) -> bool:
        """Returns True for the host of the service. A local service matches every loopback host."""
        return host.lower() == self._host or (self.is_local and is_loopback_host(host))

    @property
    def _host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    def require_api_key(self) -> str:
        """Returns the key, or raises a `ConfigurationError` that names the variable."""
        if self.api_key is None:
            raise ConfigurationError(
                f"this call needs an API key: set {API_KEY_VARIABLE}, or pass api_key=... to RivyaSession"
            )
        return self.api_key

    def __reduce__(self) -> NoReturn:
        raise TypeError("settings are not pickled: they contain the API key")


def _validate_api_key(api_key: str | None) -> str | None:
    key = _strip("api_key", api_key)
    if not all("!" <= character <= "~" for character in key):
        raise ConfigurationError(
            "the API key contains a blank, a control or a non-ASCII character: copy it again from the account settings"
        )
    return key or None


def _validate_base_url(base_url: str, *, allow_plain_http: bool) -> str:
    """Returns the origin. Messages omit the URL: it may contain a password, or be a misplaced API key."""
    url = base_url.rstrip("/").removesuffix("/api/v1").rstrip("/")
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        raise ConfigurationError(
            f"base_url (or {BASE_URL_VARIABLE}) is not a URL: use a form such as {DEFAULT_BASE_URL}"
        ) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise ConfigurationError(
            f"base_url (or {BASE_URL_VARIABLE}) needs a scheme and a host, such as {DEFAULT_BASE_URL}"
        )
    if "@" in parts.netloc or set(url) & set("?#\\ ") or not url.isprintable():
        raise ConfigurationError(
            f"base_url (or {BASE_URL_VARIABLE}) must not contain a user, password, query, fragment, backslash, "
            "blank or control character"
        )
    if not url.isascii():
        url = _to_ascii(parts)
    if parts.scheme == "http" and not allow_plain_http and not is_local_host(urlsplit(url).hostname or ""):
        raise ConfigurationError(
            f"base_url (or {BASE_URL_VARIABLE}) is a plain http URL of a host that is not local: the API key would be "
            "sent unencrypted. Use https, or pass allow_plain_http=True"
        )
    return url


def _to_ascii(url: SplitResult) -> str:
    """Returns the URL with its host in Punycode and its path percent-encoded, as browsers send it."""
    import idna

    netloc = url.netloc
    if not netloc.isascii():
        try:
            host = idna.encode(url.hostname or "", uts46=True).decode()
        except UnicodeError:
            raise ConfigurationError(f"base_url (or {BASE_URL_VARIABLE}) has an invalid host name") from None
        netloc = host if url.port is None else f"{host}:{url.port}"
    return f"{url.scheme}://{netloc}{quote(url.path, safe=URL_PUNCTUATION)}"


@hides_arguments
def validate_headers(headers: Mapping[str, str] | None, user_agent: str | None = None) -> dict[str, str]:
    """Returns the headers of the caller. Messages name the header at most: values may be secret."""
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to strings, not {type(headers).__name__}")
    validated: dict[str, str] = {}
    given = [*(headers or {}).items(), *([] if user_agent is None else [(USER_AGENT, user_agent)])]
    for name, value in given:
        if not isinstance(name, str) or not HEADER_NAME.fullmatch(name):
            raise ConfigurationError("headers contains a name that is not a valid header name")
        if advice := RESERVED_HEADERS.get(name.lower()):
            raise ConfigurationError(f"headers must not contain {name}: {advice}")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii() or value != value.strip():
            raise ConfigurationError(
                f"the value of {name} must be a string of printable ASCII characters without blanks around it"
            )
        validated = merge_headers(validated, {USER_AGENT if name.lower() == "user-agent" else name: value})
    if len(validated) < len(given):
        raise ConfigurationError("headers contains a name twice, or User-Agent beside user_agent")
    return validated


@hides_arguments
def validate_proxy(proxy: str | None, name: str = "proxy") -> str | None:
    """Returns the URL of a proxy. Messages omit it: it may contain a password."""
    url = _strip(name, proxy)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not url.isprintable() or " " in url:
        raise ConfigurationError(
            f"{name} must be a URL such as http://user:password@proxy.example:3128. For SOCKS, pass "
            "http=aiohttp.ClientSession(...) with a connector that supports it"
        )
    return url


def _strip(name: str, value: str | None) -> str:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    return (value or "").strip()
