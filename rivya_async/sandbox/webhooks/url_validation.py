"""Validation of webhook URLs: https and a public host. Names are not resolved.

`127.0.0.1` has many spellings (`2130706433`, `0x7f.1`, `0177.0.0.1`, `::ffff:7f00:1`): hosts are parsed as browsers
parse them.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

from ..._core.http.addresses import Address, is_public
from ..responses import ApiError

MAX_LENGTH: Final = 2048
"""Characters of a URL. Invented."""

LOCAL_NAMES: Final = re.compile(
    r"[^.]*|.*\.(?:localhost|localdomain|localhost6|local|internal|intranet|lan|home|corp|private|home\.arpa)"
)
"""Names that resolve on this machine or a local network only: names of one label, and of these domains."""

LOCAL_ADVICE: Final = ". A sandbox with allow_local_webhooks=True accepts http and this machine"
"""Advice for URLs of a receiver on the same machine."""

NUMERIC_LABEL: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
"""A last label that makes a host an IPv4 address."""


def check_webhook_url(url: str, *, allow_local: bool = False) -> None:
    """Raises `ApiError` (webhook_url_rejected) for an invalid URL; `allow_local` permits loopback and plain http."""
    if not 1 <= len(url) <= MAX_LENGTH or not url.isprintable() or set(url) & {" ", "\\"}:
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
