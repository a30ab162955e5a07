"""Base URL and API key: from arguments, the environment, or the documented default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit

import attrs

from .errors import ConfigurationError
from .http.addresses import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BASE_URL: Final = "https://rivya.ai"
"""Production origin (contract section 1)."""

API_KEY_VARIABLE: Final = "RIVYA_API_KEY"
BASE_URL_VARIABLE: Final = "RIVYA_BASE_URL"


@attrs.frozen
class Config:
    """API key (excluded from the repr) and base URL without a trailing slash."""

    api_key: str | None = attrs.field(repr=False)
    base_url: str

    @classmethod
    def resolve(cls, environ: Mapping[str, str], *, api_key: str | None = None, base_url: str | None = None) -> Config:
        """Returns the arguments, else `RIVYA_API_KEY` and `RIVYA_BASE_URL`; blank variables count as unset."""
        key = api_key if api_key is not None else environ.get(API_KEY_VARIABLE)
        url = _strip("base_url", base_url) or _strip(BASE_URL_VARIABLE, environ.get(BASE_URL_VARIABLE))
        return cls(_validate_api_key(key), _validate_base_url(url or DEFAULT_BASE_URL))

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


def _validate_base_url(base_url: str) -> str:
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
    return url


def _strip(name: str, value: str | None) -> str:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    return (value or "").strip()
