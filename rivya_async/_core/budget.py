"""How fast a session may send, all its requests together. It is told the time and the draws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .allowance import Allowance
from .breaker import Breaker
from .bucket import Bucket
from .learned_rate import LearnedRate

if TYPE_CHECKING:
    from .policies import RateLimit

BURST_TIME: Final = 0.05
"""Seconds' worth of requests that may go out at once under a learned rate: no timer is more punctual."""

RETRIES_PER_SECOND: Final = 10.0
"""Retries at their usual pace that every second allows..."""

RETRIES_PER_ANSWER: Final = 0.2
"""... and how many each answer adds..."""

RETRIES_AT_ONCE: Final = 500.0
"""... saved up to this number. Retries beyond that come at the policy's slowest pace; none is lost."""


class Budget:
    """A rate for the whole session: the one configured, or what 429s have taught; none while the service is down.

    With an allowance the rate is kept, and learned, by whoever grants it.

    A Retry-After holds every request, not only the one that it answered. Requests that were sent before the last
    refusal was heard of teach nothing new.
    """

    def __init__(self, limit: RateLimit | Allowance | None = None) -> None:
        self.allowance = limit if isinstance(limit, Allowance) else None
        self._limit = None if isinstance(limit, Allowance) else limit
        self._bucket = Bucket(1.0)
        self._learned = LearnedRate(math.inf if self._limit is None else self._limit.per_second)
        self._breaker = Breaker()
        self._retries = Bucket(RETRIES_PER_SECOND, RETRIES_AT_ONCE)
        self._refused_until = -math.inf
        self.refusals = 0
        """429s in a row."""
        self.is_free = limit is None
        """Nothing bounds the rate for now."""

    @property
    def is_down(self) -> bool:
        """The service is taken to be down: what goes out is a probe."""
        return self._breaker.is_open

    def down_for(self, now: float) -> float:
        """Seconds since the service was first taken to be down; 0 if it is not."""
        return self._breaker.open_for(now)

    def wait(self, now: float) -> float:
        """Seconds until the next request may go out; 0 if it may, `math.inf` until more is granted."""
        if self.is_free:
            return 0.0
        if self.allowance is not None and self.allowance.left < 1:
            return math.inf
        return max(self._breaker.wait(now), self._bucket.wait(now))

    def take(self, now: float, u: float) -> None:
        """A request goes out; `u` is a draw from [0, 1)."""
        if self.is_free:
            return
        self._breaker.take(now, u)
        if self.allowance is not None:
            self.allowance.left -= 1
        rate, burst = self._rate(now)
        if math.isfinite(rate):
            self._bucket.change(rate, burst, now)
            self._bucket.take(now)
        elif not self.is_down:
            self.is_free = self.allowance is None

    def granted(self, now: float, sent_at: float) -> bool:
        """The service has answered, and not that it is overrun; True where that ends an outage."""
        self._learned.grant(now)
        self._retries.give(RETRIES_PER_ANSWER)
        if sent_at > self._refused_until:
            self.refusals = 0
        return self._breaker.answer(now, sent_at)

    def refused(self, now: float, sent_at: float, hold: float, asked: float | None = None) -> None:
        """The service has answered 429: nothing goes out for `hold` seconds, though it may have `asked` for more."""
        self.is_free = False
        self._bucket.drain_until(now + hold)
        self._breaker.answer(now, sent_at)
        if sent_at > self._refused_until:
            self.refusals += 1
            wait = max(hold, asked or 0.0)
            self._refused_until = now + wait
            if self.allowance is None:
                self._learned.refuse(now, wait)

    def failed(self, now: float, sent_at: float, u: float) -> None:
        """No answer, or a fault of the server's own; `u` is a draw from [0, 1)."""
        self._breaker.fail(now, sent_at, u)
        self.is_free = self.is_free and not self.is_down

    def has_retry(self, now: float) -> bool:
        """Whether one more retry may come at its usual pace."""
        return not self._retries.wait(now)

    def take_retry(self, now: float) -> None:
        """Count a retry that comes at its usual pace."""
        self._retries.take(now)

    def _rate(self, now: float) -> tuple[float, float]:
        """Requests per second, and how many at once."""
        rate = min(self._learned.at(now), self._breaker.rate(now))
        burst = max(1.0, rate * BURST_TIME)
        if self._limit is None:
            return rate, burst
        if self._limit.per_second <= rate:
            return self._limit.per_second, self._limit.burst
        return rate, min(burst, self._limit.burst)
