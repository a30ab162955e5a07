"""A token bucket that is told the time: the generic cell rate algorithm (ITU-T I.371), one number of state."""

from __future__ import annotations

import math
from typing import Final

TIME_TOLERANCE: Final = 1e-6
"""Seconds that are not worth waiting: a sum of floats may be that far off."""


class TokenBucket:
    """Holds at most `burst` tokens, and gains `per_second` new ones each second. It begins full."""

    __slots__ = ("_full_at", "burst", "per_second")

    def __init__(self, per_second: float, burst: float = 1.0) -> None:
        self.per_second = per_second
        self.burst = burst
        self._full_at = -math.inf

    def delay(self, now: float) -> float:
        """Seconds until a token is there; 0 if it is."""
        wait = self._full_at - (self.burst - 1.0) / self.per_second - now
        return wait if wait > TIME_TOLERANCE else 0.0

    def take(self, now: float) -> None:
        """Take a token that is there."""
        self._full_at = max(self._full_at, now) + 1.0 / self.per_second

    def refund(self, tokens: float) -> None:
        """Put tokens in; what does not fit is lost."""
        self._full_at -= tokens / self.per_second

    def drain_until(self, instant: float) -> None:
        """No token before `instant`; then one, and the others at their pace."""
        self._full_at = max(self._full_at, instant + (self.burst - 1.0) / self.per_second)

    def reconfigure(self, per_second: float, burst: float, now: float) -> None:
        """Changes rate and size from now on. Missing tokens stay missing, as far as the new size has room for them.

        A hold set by `drain_until` keeps its length in seconds.
        """
        missing = max(0.0, self._full_at - now) * self.per_second
        hold = max(0.0, missing - self.burst) / self.per_second
        missing = min(missing, self.burst, burst)
        self.per_second = per_second
        self.burst = burst
        self._full_at = now + hold + missing / per_second
