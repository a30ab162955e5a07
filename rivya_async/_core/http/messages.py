"""Requests and responses as values. The only file that spells header names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .. import idempotency
from . import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"


@attrs.frozen
class Request:
    """One request, before anybody sent it: a path below the origin, a body, and the key that makes a repeat safe."""

    method: str
    path: str
    body: bytes | None = attrs.field(default=None, repr=False)
    idempotency_key: str | None = None
    needs_api_key: bool = True
    accept: str = JSON
    is_long_running: bool = False
    """Whether the service may work for long before it says anything."""
    accepts_idempotency_key: bool = True
    """Whether an idempotency key would make a repeat safe; the service names none for webhooks."""

    @property
    def is_safe(self) -> bool:
        """Whether the service does nothing but answer."""
        return self.method in idempotency.SAFE_METHODS

    @property
    def needs_idempotency_key(self) -> bool:
        """Whether it could act twice, so that it is sent under an idempotency key only."""
        return self.accepts_idempotency_key and idempotency.needs_key(self.method)

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it again is safe whatever came of the first time."""
        return self.idempotency_key is not None or idempotency.is_idempotent(self.method)

    def headers(self, api_key: str | None, user_agent: str) -> dict[str, str]:
        """The headers to send, with the API key if this request needs one."""
        return common_headers(api_key if self.needs_api_key else None, user_agent) | self.specific_headers

    @property
    def specific_headers(self) -> dict[str, str]:
        """The headers in which it differs from others that need an API key: none for a mere read."""
        headers = {} if self.accept == JSON else {"Accept": self.accept}
        if self.body is not None:
            headers["Content-Type"] = JSON
        if self.idempotency_key is not None:
            headers["Idempotency-Key"] = self.idempotency_key
        return headers


def common_headers(api_key: str | None, user_agent: str) -> dict[str, str]:
    """What every request says, with the API key if there is one."""
    headers = {"Accept": JSON, "User-Agent": user_agent}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


@attrs.frozen
class MultipartForm:
    """What an upload says of a file beside its bytes: the fields, the file's name, type and size in bytes, if known."""

    fields: Mapping[str, str]
    filename: str
    mime_type: str
    size: int | None


@attrs.frozen
class Response:
    """One answer, read to its end. `headers` answers lookups in any case."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    @property
    def is_success(self) -> bool:
        """Any 2xx: which one the service uses is not documented."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def is_redirect(self) -> bool:
        """Any 3xx."""
        return 300 <= self.status < 400  # noqa: PLR2004

    def retry_after(self, now: float) -> float | None:
        """The service's wish in seconds. A date is measured by the answer's own `Date`, by ours (`now`) without one."""
        server_now = retry_after.parse_http_date(self.headers.get("Date"))
        return retry_after.parse_retry_after(self.headers.get("Retry-After"), now if server_now is None else server_now)

    @property
    def content_type(self) -> str | None:
        """What the body says it is."""
        return self.headers.get("Content-Type")

    @property
    def location(self) -> str | None:
        """Where a redirect points."""
        return self.headers.get("Location")
