"""Where the service is and who we are: arguments first, then the environment, then the documented origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs

from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRODUCTION: Final = "https://rivya.ai"
"""Contract section 1: the production origin."""

KEY_VARIABLE: Final = "RIVYA_API_KEY"
URL_VARIABLE: Final = "RIVYA_BASE_URL"


@attrs.frozen
class Settings:
    """An API key (never shown) and an origin without a trailing slash."""

    api_key: str | None = attrs.field(repr=False)
    base_url: str

    @classmethod
    def resolve(
        cls, environ: Mapping[str, str], *, api_key: str | None = None, base_url: str | None = None
    ) -> Settings:
        """Settings from arguments, else from `RIVYA_API_KEY` and `RIVYA_BASE_URL`; blank variables count as unset."""
        return cls(
            api_key=_checked_key(api_key if api_key is not None else environ.get(KEY_VARIABLE)),
            base_url=_checked_url(base_url or environ.get(URL_VARIABLE, "").strip() or PRODUCTION),
        )

    def required_key(self) -> str:
        """The key, or a `ConfigurationError` that names the variable."""
        if self.api_key is None:
            raise ConfigurationError(
                f"this call needs an API key: set {KEY_VARIABLE}, or pass api_key=... to RivyaSession"
            )
        return self.api_key


def _checked_key(api_key: str | None) -> str | None:
    if api_key is None or not api_key.strip():
        return None
    key = api_key.strip()
    if not all("!" <= character <= "~" for character in key):
        raise ConfigurationError(
            "the API key holds a blank, a control or a non-ASCII character: copy it again from the account settings"
        )
    return key


def _checked_url(base_url: str) -> str:
    url = base_url.rstrip("/").removesuffix("/api/v1")
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        raise ConfigurationError(f"base_url {base_url!r} is not a URL: use a form such as {PRODUCTION}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise ConfigurationError(f"base_url {base_url!r} needs a scheme and a host, such as {PRODUCTION}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError("base_url must hold no user, password, query or fragment")
    return url
