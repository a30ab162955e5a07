"""Validation of the links of files, and of redirects of a file host. Host names are resolved elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urljoin, urlsplit

import attrs

from ..errors import DownloadError
from .addresses import is_private_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from .messages import Response

MAX_REDIRECTS: Final = 10

ABSOLUTE_URL_PATTERN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
UNSENDABLE_CHARACTERS: Final = re.compile(r"[^!-~]+")
"""Characters that a request line must not contain: blanks, controls and non-ASCII characters."""

MAX_SHOWN_HOST: Final = 100
"""Maximum characters of a host in an error message."""


@attrs.frozen
class RedirectTarget:
    """URL to request; `only_public` restricts its host to public addresses."""

    url: str
    only_public: bool = False


def encode_link(url: str) -> str:
    """Returns the URL as it is sent: the signature of a link is valid only for the exact characters of the link.

    Only blanks, controls and non-ASCII characters are percent-encoded. Raises `ValueError` for an invalid character.

    >>> encode_link("https://a.example/a b%2Fc?d=%27e'")
    "https://a.example/a%20b%2Fc?d=%27e'"
    """
    return UNSENDABLE_CHARACTERS.sub(lambda match: quote(match[0].encode(errors="surrogateescape")), url.strip())


def link_target(url: str, *, base_url: str, is_own: Callable[[str], bool]) -> RedirectTarget:
    """Returns the target of a link that the service at `base_url` sent.

    Raises `DownloadError` as `redirect_target` does, with the service in the place of the redirecting host.
    """
    return _validate_target(url, base_url, is_own)


def redirect_target(url: str, response: Response, *, is_own: Callable[[str], bool]) -> RedirectTarget | None:
    """Returns the target of a response of `url`; None if it is not a redirect.

    Raises `DownloadError` for a URL that is not http, for a change from https to http, and for a private address,
    unless `is_own` returns True for it.
    """
    if not response.is_redirect or response.location is None:
        return None
    location = response.location.strip()
    try:
        target = location if ABSOLUTE_URL_PATTERN.match(location) else urljoin(url, location)
    except ValueError:
        raise _invalid_url_error() from None
    return _validate_target(target, url, is_own)


def _validate_target(target: str, source: str, is_own: Callable[[str], bool]) -> RedirectTarget:
    try:
        parts = urlsplit(target)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _invalid_url_error() from None
    if parts.scheme not in {"http", "https"} or not host:
        raise DownloadError("the file is at a URL without http and a host: it is not followed")
    if urlsplit(source).scheme == "https" and parts.scheme == "http":
        raise DownloadError(
            f"the link of the file leads from https to http ({host[:MAX_SHOWN_HOST]}): it is not followed"
        )
    if is_own(host):
        return RedirectTarget(target)
    if is_private_address(host):
        raise private_address_error(host)
    return RedirectTarget(target, only_public=True)


def _invalid_url_error() -> DownloadError:
    return DownloadError("the file is at an invalid URL: it is not followed")


def private_address_error(host: str) -> DownloadError:
    """Returns the error for a link or redirect to a private address."""
    return DownloadError(
        f"the link of the file leads to {host[:MAX_SHOWN_HOST]}, which is not on the public internet: it is not "
        "followed. If you trust it, download that URL itself"
    )
