"""Rate of all requests of a session: token bucket, estimated limit, outages and retry budget.

Time and random numbers are arguments.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from .circuit_breaker import CircuitBreaker
from .external_limiter import ExternalRateLimiter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policies import RateLimit

TIME_TOLERANCE: Final = 1e-6
"""Maximum rounding error of a sum of floats in seconds: shorter delays are 0."""

BURST_DURATION: Final = 0.05
"""Burst of an estimated rate, in seconds of that rate: the accuracy of a timer."""

RETRIES_PER_SECOND: Final = 10.0
"""Retry tokens added per second."""

RETRIES_PER_RESPONSE: Final = 0.2
"""Retry tokens added per successful response."""

MAX_RETRY_TOKENS: Final = 500.0
"""Maximum number of retry tokens. Retries without a token use the longest delays of the policy; none is dropped."""

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


MAX_LEARNED_DELAY: Final = 60.0
"""Maximum seconds of a `Retry-After` that count for an estimate. Longer ones are errors, or bans."""


class TokenBucket:
    """Token bucket that starts full with `burst` tokens, and gains `per_second` tokens per second.

    It is the generic cell rate algorithm (ITU-T I.371), whose state is one number.
    """

    __slots__ = ("_full_at", "burst", "per_second")

    def __init__(self, per_second: float, burst: float = 1.0) -> None:
        self.per_second = per_second
        self.burst = burst
        self._full_at = -math.inf

    def delay(self, now: float) -> float:
        """Returns the seconds until a token is available."""
        wait = self._full_at - (self.burst - 1.0) / self.per_second - now
        return wait if wait > TIME_TOLERANCE else 0.0

    def take(self, now: float) -> None:
        """Takes an available token."""
        self._full_at = max(self._full_at, now) + 1.0 / self.per_second

    def refund(self, tokens: float) -> None:
        """Adds tokens, up to a full bucket."""
        self._full_at -= tokens / self.per_second

    def drain_until(self, instant: float) -> None:
        """Empties the bucket until `instant`; then one token is available, and the others follow at the rate."""
        self._full_at = max(self._full_at, instant + (self.burst - 1.0) / self.per_second)

    def reconfigure(self, per_second: float, burst: float, now: float) -> None:
        """Changes rate and size. The number of missing tokens stays, up to the new size.

        A pause set by `drain_until` keeps its length in seconds.
        """
        missing = max(0.0, self._full_at - now) * self.per_second
        pause = max(0.0, missing - self.burst) / self.per_second
        missing = min(missing, self.burst, burst)
        self.per_second = per_second
        self.burst = burst
        self._full_at = now + pause + missing / per_second


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
        delay = min(delay, MAX_LEARNED_DELAY)
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


class RateController:
    """Rate of a session: the configured or estimated limit, and single probes during an outage.

    With an `ExternalRateLimiter` the rate is estimated by the component that grants its permits. A `Retry-After`
    delays every request, not only the rejected one. Responses to requests sent before the last 429 are ignored by the
    estimate.
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
        """Number of 429s since the last success."""
        self.is_unlimited = limit is None
        """True while nothing limits the rate."""
        self.has_reached_api = False
        """True if a response came from the API, and not from a gateway."""
        self.ignores_purchases = False
        """True while purchases are rejected for the number of running jobs, which says nothing about the rate."""

    def forget_rate(self) -> None:
        """Forgets the estimated rate, since the last 429 may not have been for the rate. The delay after it remains."""
        self._adaptive_rate = AdaptiveRate(math.inf if self._limit is None else self._limit.per_second)

    @property
    def is_down(self) -> bool:
        """True if the service is considered down: requests are probes."""
        return self._breaker.is_open

    def outage_duration(self, now: float) -> float:
        """Returns the seconds since the start of the outage; 0 without one."""
        return self._breaker.open_for(now)

    def delay(self, now: float) -> float:
        """Returns the seconds until the next request may be sent; `math.inf` without external permits."""
        if self.is_unlimited:
            return 0.0
        if self.external_limiter is not None and self.external_limiter.available < 1:
            return math.inf
        return max(self._breaker.delay(now), self._bucket.delay(now))

    def on_request(self, now: float, u: float) -> None:
        """Records a sent request; `u` is a random number from [0, 1)."""
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
        """Records a response other than a 429. Returns True if it ends an outage."""
        self._adaptive_rate.on_success(now)
        self._retries.refund(RETRIES_PER_RESPONSE)
        if sent_at > self._rejected_until:
            self.consecutive_rejections = 0
        breaker = self._breaker
        if not breaker.failures and not breaker.is_open:  # in the common case without a call
            return False
        return breaker.on_response(now, sent_at)

    def on_rate_limited(self, now: float, sent_at: float, delay: float, retry_after: float | None = None) -> None:
        """Records a 429: no request is sent for `delay` seconds, which may be less than its `retry_after`."""
        self.is_unlimited = False
        self._bucket.drain_until(now + delay)
        self._breaker.on_response(now, sent_at)
        if sent_at > self._rejected_until:
            self.consecutive_rejections += 1
            window = min(max(delay, retry_after or 0.0), MAX_LEARNED_DELAY)
            self._rejected_until = now + window
            if self.external_limiter is None:
                self._adaptive_rate.on_rejection(now, window)

    def on_failure(self, now: float, sent_at: float, u: float) -> None:
        """Records a missing response or a server error; `u` is a random number from [0, 1)."""
        self._breaker.on_failure(now, sent_at, u)
        self.is_unlimited = self.is_unlimited and not self.is_down

    def has_retry_token(self, now: float) -> bool:
        """Returns True if a retry may use its regular delay."""
        return not self._retries.delay(now)

    def take_retry_token(self, now: float) -> None:
        """Takes the token of a retry with its regular delay."""
        self._retries.take(now)

    def _rate_and_burst(self, now: float) -> tuple[float, float]:
        """Returns the requests per second, and the burst."""
        rate = min(self._adaptive_rate.rate_at(now), self._breaker.rate(now))
        burst = max(1.0, rate * BURST_DURATION)
        if self._limit is None:
            return rate, burst
        if self._limit.per_second <= rate:
            return self._limit.per_second, self._limit.burst
        return rate, min(burst, self._limit.burst)
