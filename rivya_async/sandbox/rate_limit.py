"""The sandbox's rate limit: a fixed window per API key. Assumed, and off by default. Pure."""

from __future__ import annotations

import math
from typing import Final

from .api_error import ApiError

WINDOW: Final = 60.0
"""Seconds, unless asked otherwise."""


class RateLimit:
    """At most `limit` requests per key in a window of so many seconds; None is no limit."""

    def __init__(self, limit: int | None, window: float = WINDOW) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"rate_limit is at least 1 request per window, or None, not {limit!r}")
        if not 0.0 < window < math.inf:
            raise ValueError(f"rate_window is a number of seconds above 0, not {window!r}")
        self.limit = limit
        self.window = window
        self._current = -math.inf
        self._counts: dict[str, int] = {}

    def check(self, secret: str, now: float) -> None:
        """Count one request; raises `Refused` (rate_limited, with Retry-After) when the window is full."""
        if self.limit is None:
            return
        current = now // self.window
        if current != self._current:
            self._current = current
            self._counts.clear()
        self._counts[secret] = self._counts.get(secret, 0) + 1
        if self._counts[secret] > self.limit:
            wait = max(1, math.ceil((current + 1) * self.window - now))
            raise ApiError(
                "rate_limited",
                f"At most {self.limit} requests per {self.window:g} s: wait {wait} s.",
                headers={"Retry-After": str(wait)},
            )
