"""Resumable downloads: versions of a file, and range requests for the rest of it (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from .messages import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .messages import Response

STRONG_ETAG_PATTERN: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
"""Strong entity tag, which guarantees equal bytes; `W/"..."` does not."""

CONTENT_RANGE_PATTERN: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
CONTENT_LENGTH_PATTERN: Final = re.compile(r"[0-9]{1,18}")
PARTIAL_CONTENT: Final = 206

MIN_LAST_MODIFIED_AGE: Final = 60.0
"""Minimum age of a `Last-Modified` in seconds. An older file cannot change again within the same second."""


@attrs.frozen
class ResourceVersion:
    """Version of a file: a strong validator and its total length in bytes; None if unknown."""

    validator: str | None = None
    total: int | None = None

    @property
    def can_resume(self) -> bool:
        """True if a partial download can be resumed."""
        return self.validator is not None

    def range_headers(self, received: int) -> Mapping[str, str]:
        """Returns the headers that request the missing bytes; none if the whole file is needed."""
        if self.validator is None or received == 0:
            return {}
        return {"Range": f"bytes={received}-", "If-Range": self.validator}


UNKNOWN_VERSION: Final = ResourceVersion()


def resource_version(response: Response) -> ResourceVersion:
    """Returns the version of a successful whole or partial response."""
    if is_encoded(response):  # its length and ranges refer to the encoded bytes
        return UNKNOWN_VERSION
    return ResourceVersion(_validator(response), _total_length(response))


def resume_offset(response: Response, version: ResourceVersion, received: int) -> int | None:
    """Returns the offset of the body of a successful response in the file; None if it does not match.

    0 is the whole file. Another offset continues `received` bytes of `version`, which the response must name: a host
    that ignores `If-Range` may send the rest of another file.
    """
    if response.status != PARTIAL_CONTENT:
        return 0
    content_range = _content_range(response)
    if content_range is None or content_range[0] != received or is_encoded(response):
        return None
    current = resource_version(response)
    is_same = current.validator == version.validator is not None and current.total in {None, version.total}
    return received if received and is_same else None


def _validator(response: Response) -> str | None:
    """Returns a strong entity tag; without any tag, a date that is old enough (section 8.8.2.2)."""
    if "ETag" in response.headers:
        tag = response.headers["ETag"].strip()
        return tag if STRONG_ETAG_PATTERN.fullmatch(tag) else None
    modified = response.headers.get("Last-Modified", "").strip()
    changed, sent = parse_http_date(modified), parse_http_date(response.headers.get("Date"))
    is_settled = changed is not None and sent is not None and sent - changed >= MIN_LAST_MODIFIED_AGE
    return modified if is_settled else None


def is_encoded(response: Response) -> bool:
    """Returns True for a body with a `Content-Encoding`, although downloads ask for none."""
    return response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}


def _content_range(response: Response) -> tuple[int, int | None] | None:
    """Returns the first position of a part and the total length, if known; None for an invalid range (section 14.4)."""
    found = CONTENT_RANGE_PATTERN.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return None
    first, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    return (first, total) if first <= last and (total is None or last < total) else None


def _total_length(response: Response) -> int | None:
    if response.status == PARTIAL_CONTENT:
        content_range = _content_range(response)
        return None if content_range is None else content_range[1]
    length = response.headers.get("Content-Length", "")
    return int(length) if CONTENT_LENGTH_PATTERN.fullmatch(length) else None
