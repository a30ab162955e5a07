"""Where a redirect of a file's host leads, and whether to follow it. Names are resolved elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from .addresses import is_public, read
from .errors import DownloadError

if TYPE_CHECKING:
    from .message import Response

MOST_REDIRECTS: Final = 10


def target_of(url: str, answer: Response, *, to_local: bool) -> str | None:
    """The URL that an answer of `url` points to; None for an answer that is no redirect.

    Raises `DownloadError` for what is not followed: no http URL, from https to http, and, unless `to_local`, an
    address that is not public.
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
    address = read(host)
    if address is not None and not to_local and not is_public(address):
        raise not_public(host)
    return target


def not_public(host: str) -> DownloadError:
    """The refusal of a redirect into a private network."""
    return DownloadError(
        f"the host of the file points to {host}, which is not on the public internet: this is not followed. "
        "If you trust it, download that URL itself"
    )
