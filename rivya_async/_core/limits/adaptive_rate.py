"""What the service's 429s teach about its rate limit, whose numbers no public page gives. It is told the time."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_RATE: Final = 1.0
"""Requests per second below which the estimate never falls."""

DECREASE_FACTOR: Final = 0.9
"""A refusal takes the rate down to this share..."""

RECOVERY_SECONDS: Final = 20.0
"""... from where it climbs in so many seconds to the rate that was refused, fast, then slowly, then beyond."""

INITIAL_GUESS: Final = 10.0
"""Requests per second after a refusal that comes before anything was granted..."""

GUESS_DECREASE_FACTOR: Final = 0.5
"""... and the share to which another such refusal takes it. Until something is granted a guess doubles every second."""

MAX_HISTORY_SECONDS: Final = 64
"""Seconds with traffic that are remembered: a window longer than that is told by its Retry-After."""


class AdaptiveRate:
    """Requests per second that the service is thought to bear: without limit until the first refusal.

    The first estimate is the best explanation by a window of any length: what was granted in the last so many seconds,
    over those seconds and the wait that the service asks for. After that it falls by a share and climbs back along
    CUBIC's curve (RFC 9438, section 4.2): most of the time is spent close below the rate that was refused.
    """

    def __init__(self, rate: float = math.inf) -> None:
        self._successes: deque[list[float]] = deque(
            maxlen=MAX_HISTORY_SECONDS
        )  # [when a second of traffic began, requests in it]
        self._ceiling = rate
        self._recovery_start = -math.inf
        self._is_guess = False

    def rate_at(self, now: float) -> float:
        """The rate now."""
        if math.isinf(self._recovery_start):
            return self._ceiling
        climbing = max(0.0, now - self._recovery_start)
        if self._is_guess:
            return self._ceiling * math.exp2(min(climbing, 64.0))
        return self._ceiling * (1.0 + (1.0 - DECREASE_FACTOR) * (climbing / RECOVERY_SECONDS - 1.0) ** 3)

    def on_success(self, now: float, requests: float = 1.0) -> None:
        """Requests were answered, and not by refusals."""
        if self._successes and now - self._successes[-1][0] < 1.0:
            self._successes[-1][1] += requests
        else:
            self._successes.append([now, requests])

    def on_rejection(self, now: float, wait: float) -> None:
        """A 429, and the seconds for which it asks."""
        rate, granted = self.rate_at(now), self._observed_rate(now, wait)
        self._is_guess = not granted and (self._is_guess or math.isinf(rate))
        if self._is_guess:
            self._ceiling = INITIAL_GUESS if math.isinf(rate) else rate * GUESS_DECREASE_FACTOR
        else:
            self._ceiling = granted / DECREASE_FACTOR if math.isinf(rate) else rate
        self._ceiling = max(MIN_RATE / DECREASE_FACTOR, self._ceiling)
        self._recovery_start = now + wait
        self._successes.clear()

    def dump(self) -> dict[str, float]:
        """What was learned, but not of which requests: another process goes on with it by `load`."""
        return {"ceiling": self._ceiling, "climbs_from": self._recovery_start, "is_guess": float(self._is_guess)}

    def load(self, dump: Mapping[str, float]) -> None:
        """Go on with what `dump` gave, told by the same clock."""
        self._ceiling, self._recovery_start = dump["ceiling"], dump["climbs_from"]
        self._is_guess = bool(dump["is_guess"])

    def _observed_rate(self, now: float, wait: float) -> float:
        granted, best = 0.0, 0.0
        for began, requests in reversed(self._successes):
            granted += requests
            best = max(best, granted / max(now - began + wait, 1e-3))
        return best
