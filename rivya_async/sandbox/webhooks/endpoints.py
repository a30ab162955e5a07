"""Webhook endpoints and the validation of their fields.

Names in URLs are not resolved. `127.0.0.1` has many spellings (`2130706433`, `0x7f.1`, `0177.0.0.1`, `::ffff:7f00:1`):
hosts are parsed as browsers parse them.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from ..._core.http.addresses import Address, is_public
from ..responses import ApiError, encode_record, validation_error

EVENT_TYPES: Final = ("generation.succeeded", "generation.failed")

NAME_MAX_LENGTH: Final = 128
"""Characters of an endpoint's name. Invented."""

FAILURES_TO_DISABLE: Final = 20
"""Consecutive failed deliveries that disable an endpoint. Assumed."""

FIELDS: Final = ("name", "url", "event_types", "status")
"""Members that PATCH accepts. Assumed."""

URL_MAX_LENGTH: Final = 2048
"""Characters of a URL. Invented."""

LOCAL_NAMES: Final = re.compile(
    r"[^.]*|.*\.(?:localhost|localdomain|localhost6|local|internal|intranet|lan|home|corp|private|home\.arpa)"
)
"""Names that resolve on this machine or a local network only: names of one label, and of these domains."""

LOCAL_ADVICE: Final = ". A sandbox with allow_local_webhooks=True accepts http and this machine"
"""Advice for URLs of a receiver on the same machine."""

NUMERIC_LABEL: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
"""A last label that makes a host an IPv4 address."""


@attrs.define
class WebhookEndpoint:
    """A receiver of an account's events. Times are epoch seconds."""

    id: str
    account_id: str
    name: str
    url: str
    event_types: Sequence[str]
    secret: str = attrs.field(repr=False)
    created_at: float
    updated_at: float
    status: str = "active"
    last_success_at: float | None = None
    last_failure_at: float | None = None
    failure_count: int = 0
    disabled_at: float | None = None
    revoked_at: float | None = None

    @property
    def is_active(self) -> bool:
        """True if events are delivered to it."""
        return self.status == "active"

    def to_json(self, *, with_secret: bool = False) -> dict[str, Any]:
        """Returns the API's endpoint object."""
        preview = f"{self.secret[:8]}...{self.secret[-6:]}"
        secret = {"signing_secret": self.secret} if with_secret else {}
        return {**encode_record(self, "webhook_endpoint", "account_id", "secret"), "secret_preview": preview, **secret}

    def update(self, fields: Mapping[str, Any], now: float) -> None:
        """Applies valid fields of PATCH; activation resets the failure count."""
        self.name = fields.get("name", self.name)
        self.url = fields.get("url", self.url)
        self.event_types = fields.get("event_types", self.event_types)
        self.updated_at = now
        if fields.get("status") == "active":
            self.status, self.disabled_at, self.failure_count = "active", None, 0
        elif fields.get("status") == "disabled" and self.is_active:
            self.disable(now)

    def disable(self, now: float) -> None:
        """Stops deliveries until the next activation."""
        self.status, self.disabled_at, self.updated_at = "disabled", now, now

    def record_result(self, now: float, *, succeeded: bool) -> None:
        """Counts the result of a delivery; too many consecutive failures disable the endpoint."""
        if succeeded:
            self.last_success_at, self.failure_count = now, 0
            return
        self.last_failure_at = now
        self.failure_count += 1
        if self.is_active and self.failure_count >= FAILURES_TO_DISABLE:
            self.disable(now)


def validate_fields(body: Mapping[str, Any], *, allow_local: bool) -> dict[str, Any]:
    """Returns the valid fields of a body, with unique event types.

    Raises `ApiError` (validation_failed, webhook_url_rejected). `allow_local`: see `check_webhook_url`.
    """
    fields = {name: body[name] for name in FIELDS if name in body}
    name, types = fields.get("name", "-"), fields.get("event_types")
    if not (isinstance(name, str) and 1 <= len(name.strip()) <= NAME_MAX_LENGTH):
        raise validation_error(f"name must be a string of 1 to {NAME_MAX_LENGTH} characters.")
    if "event_types" in fields:
        if not isinstance(types, list) or not types or not all(each in EVENT_TYPES for each in types):
            raise validation_error(f"event_types must be a list of {' or '.join(EVENT_TYPES)}.")
        fields["event_types"] = list(dict.fromkeys(types))
    if "status" in fields and fields["status"] not in ("active", "disabled"):
        raise validation_error("status must be active or disabled.")
    if "url" in fields:
        if not isinstance(fields["url"], str):
            raise validation_error("url must be a string.")
        check_webhook_url(fields["url"], allow_local=allow_local)
    return fields


def check_webhook_url(url: str, *, allow_local: bool = False) -> None:
    """Raises `ApiError` (webhook_url_rejected) for an invalid URL; `allow_local` permits loopback and plain http."""
    if not 1 <= len(url) <= URL_MAX_LENGTH or not url.isprintable() or set(url) & {" ", "\\"}:
        raise _rejection("is not a URL")
    try:
        parts = urlsplit(url)
        host, has_valid_port = parts.hostname or "", parts.port != 0
    except ValueError:
        raise _rejection("is not a URL") from None
    if parts.scheme != "https" and not (allow_local and parts.scheme == "http"):
        raise _rejection(f"must use https{LOCAL_ADVICE if parts.scheme == 'http' else ''}")
    if "@" in parts.netloc:
        raise _rejection("must not contain a user or a password")
    if "#" in url:
        raise _rejection("must not contain a fragment")
    if not has_valid_port:
        raise _rejection("has no valid port")
    _check_host(host, allow_local=allow_local)


def is_loopback_url(url: str) -> bool:
    """Returns True for a valid URL that leads to this machine."""
    name = _normalize_host(urlsplit(url).hostname or "")
    address = _parse_address(name)
    return _is_localhost(name) if address is None else address.is_loopback


def _normalize_host(host: str) -> str:
    return unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().removesuffix(".")


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _check_host(host: str, *, allow_local: bool) -> None:
    name = _normalize_host(host)
    if not name or "%" in name or any(not label for label in name.split(".")):
        raise _rejection("has no valid host")
    address = _parse_address(name)
    if address is None:
        if LOCAL_NAMES.fullmatch(name) and not (allow_local and _is_localhost(name)):
            raise _rejection(f"must not be a local name{LOCAL_ADVICE}")
    elif not is_public(address) and not (allow_local and address.is_loopback):
        advice = LOCAL_ADVICE if address.is_loopback else ""
        raise _rejection(f"must not be a local, private, loopback or reserved address{advice}")


def _parse_address(name: str) -> Address | None:
    """Returns the IP address of a host in any spelling; None for a name."""
    if ":" in name:
        try:
            address = IPv6Address(name)
        except ValueError:
            raise _rejection("has no valid host") from None
        return address.ipv4_mapped or address
    if not NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(socket.inet_aton(name))  # knows the octal, hexadecimal and short spellings
    except OSError:
        raise _rejection("has no valid host") from None


def _rejection(reason: str) -> ApiError:
    return ApiError("webhook_url_rejected", f"The webhook URL {reason}.")
