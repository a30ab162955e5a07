"""A file that comes in pieces: of which version they are, and where the next answer goes on (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from .messages import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .messages import Response

STRONG_ETAG_PATTERN: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
"""An entity tag that promises equal bytes; `W/"..."` does not."""

CONTENT_RANGE_PATTERN: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
CONTENT_LENGTH_PATTERN: Final = re.compile(r"[0-9]{1,18}")
PARTIAL_CONTENT: Final = 206

MIN_LAST_MODIFIED_AGE: Final = 60.0
"""A file that has not changed for so long before it was sent does not change within the second that its date tells."""


@attrs.frozen
class ResourceVersion:
    """Which bytes a host serves, by a strong validator, and how many there are; None where it does not tell."""

    validator: str | None = None
    total: int | None = None

    @property
    def can_resume(self) -> bool:
        """Whether what is on disk can be taken up where it ended."""
        return self.validator is not None

    def range_headers(self, received: int) -> Mapping[str, str]:
        """The headers that ask for what is still missing; none where all of it has to come."""
        if self.validator is None or received == 0:
            return {}
        return {"Range": f"bytes={received}-", "If-Range": self.validator}


UNKNOWN_VERSION: Final = ResourceVersion()


def resource_version(answer: Response) -> ResourceVersion:
    """The version that a successful answer, whole or partial, is of."""
    if _is_encoded(answer):  # its length and its ranges are those of the encoded bytes
        return UNKNOWN_VERSION
    return ResourceVersion(_validator(answer), _total_length(answer))


def resume_offset(answer: Response, version: ResourceVersion, received: int) -> int | None:
    """At which byte of the file the body of a successful answer begins; None where it does not fit what is there.

    0 is the whole file. Anything else goes on with `received` bytes of `version`.
    """
    if answer.status != PARTIAL_CONTENT:
        return 0
    told = CONTENT_RANGE_PATTERN.fullmatch(answer.headers.get("Content-Range", ""))
    if told is None or int(told[1]) != received or _is_encoded(answer):
        return None
    now = resource_version(answer)
    is_same = now.validator in {None, version.validator} and now.total in {None, version.total}
    return received if received and is_same else None


def _validator(answer: Response) -> str | None:
    """What promises equal bytes: a strong entity tag; without any tag a date that is old enough (section 8.8.2.2)."""
    if "ETag" in answer.headers:
        tag = answer.headers["ETag"].strip()
        return tag if STRONG_ETAG_PATTERN.fullmatch(tag) else None
    modified = answer.headers.get("Last-Modified", "").strip()
    changed, sent = parse_http_date(modified), parse_http_date(answer.headers.get("Date"))
    is_settled = changed is not None and sent is not None and sent - changed >= MIN_LAST_MODIFIED_AGE
    return modified if is_settled else None


def _is_encoded(answer: Response) -> bool:
    return answer.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}


def _total_length(answer: Response) -> int | None:
    if answer.status == PARTIAL_CONTENT:
        told = CONTENT_RANGE_PATTERN.fullmatch(answer.headers.get("Content-Range", ""))
        return int(told[3]) if told is not None and told[3] != "*" else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if CONTENT_LENGTH_PATTERN.fullmatch(length) else None
