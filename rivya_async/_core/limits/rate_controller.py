"""How fast a session may send, all its requests together. It is told the time and the draws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .adaptive_rate import AdaptiveRate
from .circuit_breaker import CircuitBreaker
from .external_limiter import ExternalRateLimiter

if TYPE_CHECKING:
    from ..policies import RateLimit

BURST_DURATION: Final = 0.05
"""Seconds' worth of requests that may go out at once under a learned rate: no timer is more punctual."""

RETRIES_PER_SECOND: Final = 10.0
"""Retries at their usual pace that every second allows..."""

RETRIES_PER_RESPONSE: Final = 0.2
"""... and how many each answer adds..."""

MAX_RETRY_TOKENS: Final = 500.0
"""... saved up to this number. Retries beyond that come at the policy's slowest pace; none is lost."""


class RateController:
    """A rate for the whole session: the one configured, or what 429s have taught; none while the service is down.

    With an allowance the rate is kept, and learned, by whoever grants it.

    A Retry-After holds every request, not only the one that it answered. Requests that were sent before the last
    refusal was heard of teach nothing new.
    """

    def __init__(self, limit: RateLimit | ExternalRateLimiter | None = None) -> None:
        self.external_limiter = limit if isinstance(limit, ExternalRateLimiter) else None
        self._limit = None if isinstance(limit, ExternalRateLimiter) else limit
        self._bucket = TokenBucket(1.0)
        self._adaptive_rate = AdaptiveRate(math.inf if self._limit is None else self._limit.per_second)
        self._breaker = CircuitBreaker()
        self._retries = TokenBucket(RETRIES_PER_SECOND, MAX_RETRY_TOKENS)
        self._rejected_until = -math.inf
        self.consecutive_rejections = 0
        """429s in a row."""
        self.is_unlimited = limit is None
        """Nothing bounds the rate for now."""

    @property
    def is_down(self) -> bool:
        """The service is taken to be down: what goes out is a probe."""
        return self._breaker.is_open

    def outage_duration(self, now: float) -> float:
        """Seconds since the service was first taken to be down; 0 if it is not."""
        return self._breaker.open_for(now)

    def delay(self, now: float) -> float:
        """Seconds until the next request may go out; 0 if it may, `math.inf` until more is granted."""
        if self.is_unlimited:
            return 0.0
        if self.external_limiter is not None and self.external_limiter.available < 1:
            return math.inf
        return max(self._breaker.delay(now), self._bucket.delay(now))

    def on_request(self, now: float, u: float) -> None:
        """A request goes out; `u` is a draw from [0, 1)."""
        if self.is_unlimited:
            return
        self._breaker.on_request(now, u)
        if self.external_limiter is not None:
            self.external_limiter.available -= 1
        rate, burst = self._rate_and_burst(now)
        if math.isfinite(rate):
            self._bucket.reconfigure(rate, burst, now)
            self._bucket.take(now)
        elif not self.is_down:
            self.is_unlimited = self.external_limiter is None

    def on_success(self, now: float, sent_at: float) -> bool:
        """The service has answered, and not that it is overrun; True where that ends an outage."""
        self._adaptive_rate.on_success(now)
        self._retries.refund(RETRIES_PER_RESPONSE)
        if sent_at > self._rejected_until:
            self.consecutive_rejections = 0
        return self._breaker.on_response(now, sent_at)

    def on_rate_limited(self, now: float, sent_at: float, hold: float, asked: float | None = None) -> None:
        """The service has answered 429: nothing goes out for `hold` seconds, though it may have `asked` for more."""
        self.is_unlimited = False
        self._bucket.drain_until(now + hold)
        self._breaker.on_response(now, sent_at)
        if sent_at > self._rejected_until:
            self.consecutive_rejections += 1
            wait = max(hold, asked or 0.0)
            self._rejected_until = now + wait
            if self.external_limiter is None:
                self._adaptive_rate.on_rejection(now, wait)

    def on_failure(self, now: float, sent_at: float, u: float) -> None:
        """No answer, or a fault of the server's own; `u` is a draw from [0, 1)."""
        self._breaker.on_failure(now, sent_at, u)
        self.is_unlimited = self.is_unlimited and not self.is_down

    def has_retry_token(self, now: float) -> bool:
        """Whether one more retry may come at its usual pace."""
        return not self._retries.delay(now)

    def take_retry_token(self, now: float) -> None:
        """Count a retry that comes at its usual pace."""
        self._retries.take(now)

    def _rate_and_burst(self, now: float) -> tuple[float, float]:
        """Requests per second, and how many at once."""
        rate = min(self._adaptive_rate.rate_at(now), self._breaker.rate(now))
        burst = max(1.0, rate * BURST_DURATION)
        if self._limit is None:
            return rate, burst
        if self._limit.per_second <= rate:
            return self._limit.per_second, self._limit.burst
        return rate, min(burst, self._limit.burst)


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
