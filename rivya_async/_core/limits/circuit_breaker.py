"""Whether the service is down: a circuit breaker that is told the time. While it is open, single probes go out."""

from __future__ import annotations

import math
from typing import Final

FAILURE_THRESHOLD: Final = 20
"""So many failures in a row open the breaker: a service that loses half of all requests does not get there."""

FIRST_PROBE_DELAY: Final = 0.5
"""Seconds from the opening to the first probe, give or take half..."""

MAX_PROBE_DELAY: Final = 8.0
"""... doubled for every further one, up to this."""

RECOVERY_RATE: Final = 20.0
"""Requests per second right after a recovery; the allowance doubles every second..."""

RECOVERY_DURATION: Final = 10.0
"""... and is lifted after so many."""


class CircuitBreaker:
    """Closed: all passes. Open: a probe now and then, until one is answered; then the allowance grows back."""

    def __init__(self) -> None:
        self._failures = 0
        self._probes = 0
        self._opened_at = math.inf
        self._next_probe = 0.0
        self._closed_at = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether the service is taken to be down."""
        return self._opened_at < math.inf

    def open_for(self, now: float) -> float:
        """Seconds since it was opened; 0 if it is closed."""
        return max(0.0, now - self._opened_at)

    def delay(self, now: float) -> float:
        """Seconds until a request may go out."""
        return max(0.0, self._next_probe - now) if self.is_open else 0.0

    def rate(self, now: float) -> float:
        """The allowance in requests per second: bounded for a while after a recovery."""
        since = now - self._closed_at
        return RECOVERY_RATE * 2.0**since if since < RECOVERY_DURATION else math.inf

    def on_request(self, now: float, u: float) -> None:
        """A request goes out; while open it is a probe, and the next one comes later."""
        if self.is_open:
            self._probes += 1
            self._next_probe = now + self._probe_delay(u)

    def on_response(self, now: float, sent_at: float) -> bool:
        """The service has answered; True where that closes the breaker. A belated answer does not."""
        self._failures = 0
        if sent_at < self._opened_at:
            return False
        self._opened_at = math.inf
        self._probes = 0
        self._closed_at = now
        return True

    def on_failure(self, now: float, sent_at: float, u: float) -> None:
        """No answer, or a server's fault. What was sent before the last recovery does not count."""
        if sent_at < self._closed_at or self.is_open:
            return
        self._failures += 1
        if self._failures >= FAILURE_THRESHOLD:
            self._opened_at = now
            self._next_probe = now + self._probe_delay(u)

    def _probe_delay(self, u: float) -> float:
        ceiling: float = min(MAX_PROBE_DELAY, FIRST_PROBE_DELAY * 2.0 ** min(self._probes, 16))
        return ceiling * (0.5 + u)
