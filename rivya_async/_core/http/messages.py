"""Requests and responses as values, and the HTTP headers of the API."""

from __future__ import annotations

import math
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import attrs

from .. import assumptions, idempotency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policies import Timeouts

JSON: Final = "application/json"

SECONDS_PATTERN: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?")


@attrs.frozen
class RequestOptions:
    """Options of one view of a session: headers that are added, and timeouts that replace the session's."""

    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    timeouts: Timeouts | None = None


@attrs.frozen
class Request:
    """Request before it is sent: a path below the origin, a body, and the key that makes a repeat safe."""

    method: str
    path: str
    body: bytes | None = attrs.field(default=None, repr=False)
    idempotency_key: str | None = None
    needs_api_key: bool = True
    accept: str = JSON
    is_long_running: bool = False
    """True if the service may take long before it responds."""
    max_response_bytes: int = assumptions.MAX_RESPONSE_BYTES
    """Maximum size of the body of the response. A longer body is not read."""
    accepts_idempotency_key: bool = True
    """True if the endpoint accepts an idempotency key; none is documented for webhooks."""
    options: RequestOptions | None = None
    """Options that the session's own do not have; None for nearly all requests."""

    @property
    def is_safe(self) -> bool:
        """True if the request has no side effects."""
        return self.method in idempotency.SAFE_METHODS

    @property
    def is_repeatable(self) -> bool:
        """True if a repeat is safe for every outcome of the first request."""
        return self.idempotency_key is not None or idempotency.is_idempotent(self.method)

    def headers(self, api_key: str | None, user_agent: str) -> dict[str, str]:
        """Returns the headers to send, with the API key if this request needs one."""
        common = common_headers(api_key if self.needs_api_key else None, user_agent)
        return common | self.specific_headers if self.options is None else merge_headers(common, self.specific_headers)

    @property
    def specific_headers(self) -> dict[str, str]:
        """The headers that are not `common_headers`: none for a read."""
        headers = {} if self.options is None else dict(self.options.headers)
        if self.accept != JSON:
            # A proxy that compresses a stream holds its text back.
            headers |= {"Accept": self.accept, "Accept-Encoding": "identity"}
        if self.body is not None:
            headers["Content-Type"] = JSON
        if self.idempotency_key is not None:
            headers["Idempotency-Key"] = self.idempotency_key
        return headers


def common_headers(api_key: str | None, user_agent: str) -> dict[str, str]:
    """Returns the headers of every request, with the API key if there is one."""
    headers = {"Accept": JSON, "User-Agent": user_agent}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


def merge_headers(headers: Mapping[str, str], replacements: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers with the replacements. Names are compared without case."""
    replaced = {name.lower() for name in replacements}
    return {name: value for name, value in headers.items() if name.lower() not in replaced} | dict(replacements)


@attrs.frozen
class MultipartForm:
    """Multipart form of an upload without the content: fields, filename, MIME type and size in bytes, if known."""

    fields: Mapping[str, str]
    filename: str
    mime_type: str
    size: int | None


@attrs.frozen
class Response:
    """Complete response. Lookups in `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    @property
    def is_success(self) -> bool:
        """True for any 2xx: the service documents no specific one."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def is_redirect(self) -> bool:
        """True for any 3xx."""
        return 300 <= self.status < 400  # noqa: PLR2004

    def retry_after(self, now: float) -> float | None:
        """Returns the `Retry-After` in seconds. A date is relative to the `Date` of the response, or to `now`."""
        server_now = parse_http_date(self.headers.get("Date"))
        return parse_retry_after(self.headers.get("Retry-After"), now if server_now is None else server_now)

    @property
    def request_id(self) -> str | None:
        """The id of the request for the support of the service, if it sends one in a header."""
        headers = self.headers
        return headers.get("X-Request-Id") or headers.get("Request-Id") or None

    @property
    def content_type(self) -> str | None:
        """The `Content-Type` of the body."""
        return self.headers.get("Content-Type")

    @property
    def location(self) -> str | None:
        """The target of a redirect."""
        return self.headers.get("Location")


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Returns the delay of a `Retry-After` header in seconds, or None if it is missing or invalid.

    Accepts an integer or decimal number of seconds, and an HTTP date in its three forms (RFC 9110, section 10.2.3).
    `now` is in seconds since the epoch. A past date is 0.
    """
    text = (value or "").strip(" \t")
    if SECONDS_PATTERN.fullmatch(text):
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    date = parse_http_date(text)
    return None if date is None else max(0.0, date - now)


def parse_http_date(value: str | None) -> float | None:
    """Returns an HTTP date as seconds since the epoch, or None if it is missing or invalid."""
    if not value or not value[:1].isalpha():
        return None
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
