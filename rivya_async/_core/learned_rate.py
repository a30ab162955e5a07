"""What the service's 429s teach about its rate limit, whose numbers no public page gives. It is told the time."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST: Final = 1.0
"""Requests per second below which the estimate never falls."""

FALL: Final = 0.9
"""A refusal takes the rate down to this share..."""

CLIMB_TIME: Final = 20.0
"""... from where it climbs in so many seconds to the rate that was refused, fast, then slowly, then beyond."""

GUESS: Final = 10.0
"""Requests per second after a refusal that comes before anything was granted..."""

GUESS_FALL: Final = 0.5
"""... and the share to which another such refusal takes it. Until something is granted a guess doubles every second."""

MEMORY: Final = 64
"""Seconds with traffic that are remembered: a window longer than that is told by its Retry-After."""


class LearnedRate:
    """Requests per second that the service is thought to bear: without limit until the first refusal.

    The first estimate is the best explanation by a window of any length: what was granted in the last so many seconds,
    over those seconds and the wait that the service asks for. After that it falls by a share and climbs back along
    CUBIC's curve (RFC 9438, section 4.2): most of the time is spent close below the rate that was refused.
    """

    def __init__(self, rate: float = math.inf) -> None:
        self._granted: deque[list[float]] = deque(maxlen=MEMORY)  # [when a second of traffic began, requests in it]
        self._ceiling = rate
        self._climbs_from = -math.inf
        self._is_guess = False

    def at(self, now: float) -> float:
        """The rate now."""
        if math.isinf(self._climbs_from):
            return self._ceiling
        climbing = max(0.0, now - self._climbs_from)
        if self._is_guess:
            return self._ceiling * math.exp2(min(climbing, 64.0))
        return self._ceiling * (1.0 + (1.0 - FALL) * (climbing / CLIMB_TIME - 1.0) ** 3)

    def grant(self, now: float, requests: float = 1.0) -> None:
        """Requests were answered, and not by refusals."""
        if self._granted and now - self._granted[-1][0] < 1.0:
            self._granted[-1][1] += requests
        else:
            self._granted.append([now, requests])

    def refuse(self, now: float, wait: float) -> None:
        """A 429, and the seconds for which it asks."""
        rate, granted = self.at(now), self._granted_rate(now, wait)
        self._is_guess = not granted and (self._is_guess or math.isinf(rate))
        if self._is_guess:
            self._ceiling = GUESS if math.isinf(rate) else rate * GUESS_FALL
        else:
            self._ceiling = granted / FALL if math.isinf(rate) else rate
        self._ceiling = max(LEAST / FALL, self._ceiling)
        self._climbs_from = now + wait
        self._granted.clear()

    def dump(self) -> dict[str, float]:
        """What was learned, but not of which requests: another process goes on with it by `load`."""
        return {"ceiling": self._ceiling, "climbs_from": self._climbs_from, "is_guess": float(self._is_guess)}

    def load(self, dump: Mapping[str, float]) -> None:
        """Go on with what `dump` gave, told by the same clock."""
        self._ceiling, self._climbs_from = dump["ceiling"], dump["climbs_from"]
        self._is_guess = bool(dump["is_guess"])

    def _granted_rate(self, now: float, wait: float) -> float:
        granted, best = 0.0, 0.0
        for began, requests in reversed(self._granted):
            granted += requests
            best = max(best, granted / max(now - began + wait, 1e-3))
        return best
