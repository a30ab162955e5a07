"""The sandbox's rate limit: a fixed window of a minute per API key. Assumed, and off by default. Pure."""

from __future__ import annotations

import math
from typing import Final

from .refused import Refused

WINDOW: Final = 60.0
"""Seconds."""


class RateLimit:
    """At most `limit` requests per key in a window; None is no limit."""

    def __init__(self, limit: int | None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"rate_limit is at least 1 request per minute, or None, not {limit!r}")
        self._limit = limit
        self._window = -math.inf
        self._counts: dict[str, int] = {}

    def check(self, secret: str, now: float) -> None:
        """Count one request; raises `Refused` (rate_limited, with Retry-After) when the window is full."""
        if self._limit is None:
            return
        window = now // WINDOW
        if window != self._window:
            self._window = window
            self._counts.clear()
        self._counts[secret] = self._counts.get(secret, 0) + 1
        if self._counts[secret] > self._limit:
            wait = max(1, math.ceil((window + 1) * WINDOW - now))
            raise Refused(
                "rate_limited",
                f"At most {self._limit} requests per minute: wait {wait} s.",
                headers={"Retry-After": str(wait)},
            )
