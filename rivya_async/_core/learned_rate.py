"""What the service's 429s teach about its rate limit, whose numbers no public page gives. It is told the time."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

LEAST: Final = 1.0
"""Requests per second below which the estimate never falls."""

UNKNOWN: Final = 10.0
"""Requests per second after a refusal before anything was granted."""

FALL: Final = 0.9
"""A refusal takes the rate down to this share, or further if less than that was granted..."""

DEEPEST_FALL: Final = 0.5
"""... but never below this share at once."""

CLIMB: Final = 0.01
"""Share of itself by which the rate climbs each second without a refusal..."""

CLIMB_LEAST: Final = 0.2
"""... and at least this many requests per second."""

MEMORY: Final = 64
"""Seconds with traffic that are remembered: a window longer than that is told by its Retry-After."""


class LearnedRate:
    """Requests per second that the service is thought to bear: without limit until the first refusal.

    Multiplicative decrease, slow increase: the rule that many clients of one limit share it fairly by (Chiu and Jain
    1989). The first estimate is the best explanation by a window of any length: what was granted in the last so many
    seconds, over those seconds and the wait that the service asks for.
    """

    def __init__(self) -> None:
        self._granted: deque[list[float]] = deque(maxlen=MEMORY)  # [when a second of traffic began, requests in it]
        self._rate = math.inf
        self._climbs_from = -math.inf

    def at(self, now: float) -> float:
        """The rate now."""
        if math.isinf(self._rate):
            return self._rate
        return self._rate + max(0.0, now - self._climbs_from) * max(CLIMB * self._rate, CLIMB_LEAST)

    def grant(self, now: float) -> None:
        """A request was answered, and not by a refusal."""
        if self._granted and now - self._granted[-1][0] < 1.0:
            self._granted[-1][1] += 1.0
        else:
            self._granted.append([now, 1.0])

    def refuse(self, now: float, wait: float) -> None:
        """A 429 that asks for a wait of so many seconds. What comes back from before the fall says nothing new."""
        rate, granted = self.at(now), self._granted_rate(now, wait)
        if math.isinf(rate):
            fallen = granted or UNKNOWN
        else:
            fallen = min(rate * FALL, max(granted, rate * DEEPEST_FALL))
        self._rate = max(LEAST, fallen)
        self._climbs_from = now + wait
        self._granted.clear()

    def _granted_rate(self, now: float, wait: float) -> float:
        granted, best = 0.0, 0.0
        for began, requests in reversed(self._granted):
            granted += requests
            best = max(best, granted / max(now - began + wait, 1e-3))
        return best
