"""Where a redirect of a file's host leads, and whether to follow it. Names are resolved elsewhere."""

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
    """A URL to ask; `only_public`: if its host is on the public internet."""

    url: str
    only_public: bool = False


def redirect_target(url: str, answer: Response, *, is_own: Callable[[str], bool]) -> RedirectTarget | None:
    """Where an answer of `url` points to; None for an answer that is no redirect.

    Raises `DownloadError` for what is not followed: no http URL, from https to http, and an address that is not
    public, unless `is_own` knows it as the service's own.
    """
    if not answer.is_redirect or answer.location is None:
        return None
    try:
        target = urljoin(url, answer.location.strip())
        parts = urlsplit(target)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise DownloadError("the host of the file points to what is no URL") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise DownloadError(
            "the host of the file points to what cannot be downloaded: a redirect needs http and a host"
        )
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise DownloadError(f"the host of the file points from https to http ({host}): this is not followed")
    if is_own(host):
        return RedirectTarget(target)
    if is_private_address(host):
        raise private_address_error(host)
    return RedirectTarget(target, only_public=True)


def private_address_error(host: str) -> DownloadError:
    """The refusal of a redirect into a private network."""
    return DownloadError(
        f"the host of the file points to {host}, which is not on the public internet: this is not followed. "
        "If you trust it, download that URL itself"
    )
