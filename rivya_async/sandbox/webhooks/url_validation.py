"""Which URLs a webhook may have: https, a public host, nothing that hides in it. Pure: no name is looked up.

`127.0.0.1` has many spellings (`2130706433`, `0x7f.1`, `0177.0.0.1`, `::ffff:7f00:1`): each is read as a browser
would read it before it is judged.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

from ..._core.addresses import Address, is_public
from ..api_error import ApiError

MAX_LENGTH: Final = 2048
"""Characters. Invented."""

LOCAL_NAMES: Final = re.compile(
    r"[^.]*|.*\.(?:localhost|localdomain|localhost6|local|internal|intranet|lan|home|corp|private|home\.arpa)"
)
"""The localhost names, and what resolves on a local network only: names of one label, and these ends."""

NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
"""A label that makes a host an IPv4 address if it is the last one."""


def check(url: str, *, allow_local: bool = False) -> None:
    """Raises `Refused` (webhook_url_rejected). `allow_local` lifts the rule for loopback and for plain http."""
    if not 1 <= len(url) <= MAX_LENGTH or not url.isprintable() or set(url) & {" ", "\\"}:
        raise _rejected("is not a URL")
    try:
        parts = urlsplit(url)
        host, is_port = parts.hostname or "", parts.port != 0
    except ValueError:
        raise _rejected("is not a URL") from None
    if parts.scheme != "https" and not (allow_local and parts.scheme == "http"):
        raise _rejected("must use https")
    if "@" in parts.netloc:
        raise _rejected("must not hold a user or a password")
    if "#" in url:
        raise _rejected("must not hold a fragment")
    if not is_port:
        raise _rejected("has no valid port")
    _check_host(host, allow_local=allow_local)


def is_on_this_machine(url: str) -> bool:
    """Whether a URL that passes the rule, or passes it with the switch, leads to the machine that looks at it."""
    name = _read(urlsplit(url).hostname or "")
    address = _address(name)
    return _is_localhost(name) if address is None else address.is_loopback


def _read(host: str) -> str:
    """A host as a browser reads it."""
    return unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().removesuffix(".")


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _check_host(host: str, *, allow_local: bool) -> None:
    name = _read(host)
    if not name or "%" in name or any(not label for label in name.split(".")):
        raise _rejected("has no valid host")
    address = _address(name)
    if address is None:
        if LOCAL_NAMES.fullmatch(name) and not (allow_local and _is_localhost(name)):
            raise _rejected("must not be a local name")
    elif not is_public(address) and not (allow_local and address.is_loopback):
        raise _rejected("must not be a local, private, loopback or reserved address")


def _address(name: str) -> Address | None:
    """The address that a host spells; None for a name."""
    if ":" in name:
        try:
            address = IPv6Address(name)
        except ValueError:
            raise _rejected("has no valid host") from None
        return address.ipv4_mapped or address
    labels = name.split(".")
    if not NUMBER.fullmatch(labels[-1]):
        return None
    try:
        *heads, last = [_number(label) for label in labels]
    except ValueError:
        raise _rejected("has no valid host") from None
    if len(heads) > 3 or any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):  # noqa: PLR2004 - bytes
        raise _rejected("has no valid host")
    return IPv4Address(sum(head << (24 - 8 * place) for place, head in enumerate(heads)) + last)


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if len(label) > 1 and label.startswith("0") else 10)


def _rejected(why: str) -> ApiError:
    return ApiError("webhook_url_rejected", f"The webhook URL {why}.")
