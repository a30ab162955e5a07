"""The `Retry-After` header in all its forms (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import math
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, from 0 on, or None where the header is absent or makes no sense.

    Takes a whole or a decimal number of seconds and an HTTP date in its three forms; `now` is in seconds since the
    epoch. A past date is 0.
    """
    text = (value or "").strip(" \t")
    if _SECONDS.fullmatch(text):
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    return _seconds_until(text, now)


def parse_http_date(value: str | None) -> float | None:
    """An HTTP date as seconds since the epoch, or None where it is absent or makes no sense."""
    if not value or not value[:1].isalpha():
        return None
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _seconds_until(text: str, now: float) -> float | None:
    at = parse_http_date(text)
    return None if at is None else max(0.0, at - now)
