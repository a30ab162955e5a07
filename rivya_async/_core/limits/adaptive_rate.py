"""Estimate of the rate limit of the service, which no public page documents, from its 429 responses."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_RATE: Final = 1.0
"""Minimum of the estimate in requests per second."""

DECREASE_FACTOR: Final = 0.9
"""Factor by which a 429 reduces the rate."""

RECOVERY_SECONDS: Final = 20.0
"""Seconds in which a reduced rate recovers: fast, then slowly near the rejected rate, then beyond it."""

INITIAL_GUESS: Final = 10.0
"""Requests per second after a 429 before any successful request. A guess doubles every second until one succeeds."""

GUESS_DECREASE_FACTOR: Final = 0.5
"""Factor by which further 429s before any successful request reduce the guess."""

MAX_HISTORY_SECONDS: Final = 64
"""Number of seconds with traffic that are kept. Longer windows of the service show in its `Retry-After`."""


class AdaptiveRate:
    """Estimated rate limit in requests per second: infinite until the first 429.

    The first estimate assumes a fixed window of any length: it is the highest ratio of the requests of the last n
    seconds to n plus the requested delay. Later 429s reduce the rate by a factor, from which it recovers along the
    CUBIC curve (RFC 9438, section 4.2): it stays close below the rejected rate most of the time.
    """

    def __init__(self, rate: float = math.inf) -> None:
        # each item is [start of a second with traffic, requests in it]
        self._successes: deque[list[float]] = deque(maxlen=MAX_HISTORY_SECONDS)
        self._ceiling = rate
        self._recovery_start = -math.inf
        self._is_guess = False

    def rate_at(self, now: float) -> float:
        """Returns the current rate."""
        if math.isinf(self._recovery_start):
            return self._ceiling
        elapsed = max(0.0, now - self._recovery_start)
        if self._is_guess:
            return self._ceiling * math.exp2(min(elapsed, 64.0))
        return self._ceiling * (1.0 + (1.0 - DECREASE_FACTOR) * (elapsed / RECOVERY_SECONDS - 1.0) ** 3)

    def on_success(self, now: float, requests: float = 1.0) -> None:
        """Records requests that the service has not rejected with a 429."""
        if self._successes and now - self._successes[-1][0] < 1.0:
            self._successes[-1][1] += requests
        else:
            self._successes.append([now, requests])

    def on_rejection(self, now: float, delay: float) -> None:
        """Reduces the rate after a 429 that requests a delay in seconds."""
        rate, observed = self.rate_at(now), self._observed_rate(now, delay)
        self._is_guess = not observed and (self._is_guess or math.isinf(rate))
        if self._is_guess:
            self._ceiling = INITIAL_GUESS if math.isinf(rate) else rate * GUESS_DECREASE_FACTOR
        else:
            self._ceiling = observed / DECREASE_FACTOR if math.isinf(rate) else rate
        self._ceiling = max(MIN_RATE / DECREASE_FACTOR, self._ceiling)
        self._recovery_start = now + delay
        self._successes.clear()

    def dump(self) -> dict[str, float]:
        """Returns the estimate without the recorded requests; another process restores it by `load`."""
        return {"ceiling": self._ceiling, "climbs_from": self._recovery_start, "is_guess": float(self._is_guess)}

    def load(self, dump: Mapping[str, float]) -> None:
        """Restores the result of `dump`; both processes use the same clock."""
        self._ceiling, self._recovery_start = dump["ceiling"], dump["climbs_from"]
        self._is_guess = bool(dump["is_guess"])

    def _observed_rate(self, now: float, delay: float) -> float:
        total, best = 0.0, 0.0
        for start, requests in reversed(self._successes):
            total += requests
            best = max(best, total / max(now - start + delay, 1e-3))
        return best
