"""Validation of redirects of a file host. Host names are resolved elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import attrs

from ..errors import DownloadError
from .addresses import is_private_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from .messages import Response

MAX_REDIRECTS: Final = 10


@attrs.frozen
class RedirectTarget:
    """URL to request; `only_public` restricts its host to public addresses."""

    url: str
    only_public: bool = False


def redirect_target(url: str, response: Response, *, is_own: Callable[[str], bool]) -> RedirectTarget | None:
    """Returns the target of a response of `url`; None if it is not a redirect.

    Raises `DownloadError` for a URL that is not http, for a change from https to http, and for a private address,
    unless `is_own` returns True for it.
    """
    if not response.is_redirect or response.location is None:
        return None
    try:
        target = urljoin(url, response.location.strip())
        parts = urlsplit(target)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise DownloadError("the host of the file redirects to an invalid URL") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise DownloadError("the host of the file redirects to a URL without http and a host: this is not followed")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise DownloadError(f"the host of the file redirects from https to http ({host}): this is not followed")
    if is_own(host):
        return RedirectTarget(target)
    if is_private_address(host):
        raise private_address_error(host)
    return RedirectTarget(target, only_public=True)


def private_address_error(host: str) -> DownloadError:
    """Returns the error for a redirect to a private address."""
    return DownloadError(
        f"the host of the file redirects to {host}, which is not on the public internet: this is not followed. "
        "If you trust it, download that URL itself"
    )
