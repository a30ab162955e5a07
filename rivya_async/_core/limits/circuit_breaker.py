"""Circuit breaker that detects outages of the service. Time is an argument."""

from __future__ import annotations

import math
from typing import Final

FAILURE_THRESHOLD: Final = 20
"""Consecutive failures that open the breaker: too many for a service that fails half of its requests."""

FIRST_PROBE_DELAY: Final = 0.5
"""Mean delay of the first probe after the opening in seconds; it varies by a half."""

MAX_PROBE_DELAY: Final = 8.0
"""Maximum mean delay of a probe in seconds. The delay doubles with every probe."""

RECOVERY_RATE: Final = 20.0
"""Requests per second at the start of a recovery. The rate doubles every second."""

RECOVERY_DURATION: Final = 10.0
"""Seconds of a recovery after which the rate is unlimited."""


class CircuitBreaker:
    """Circuit breaker: closed, it passes all requests; open, it passes single probes until one gets a response.

    After it closes, the allowed rate grows for a while.
    """

    def __init__(self) -> None:
        self.failures = 0
        """Consecutive failures."""
        self.is_open = False
        """True if the service is considered down."""
        self._probes = 0
        self._opened_at = math.inf
        self._next_probe = 0.0
        self._closed_at = -math.inf

    def open_for(self, now: float) -> float:
        """Returns the seconds since the opening; 0 if closed."""
        return max(0.0, now - self._opened_at)

    def delay(self, now: float) -> float:
        """Returns the seconds until a request may be sent."""
        return max(0.0, self._next_probe - now) if self.is_open else 0.0

    def rate(self, now: float) -> float:
        """Returns the allowed requests per second: limited during a recovery."""
        since = now - self._closed_at
        return RECOVERY_RATE * 2.0**since if since < RECOVERY_DURATION else math.inf

    def on_request(self, now: float, u: float) -> None:
        """Records a sent request. In the open state it is a probe, and delays the next one."""
        if self.is_open:
            self._probes += 1
            self._next_probe = now + self._probe_delay(u)

    def on_response(self, now: float, sent_at: float) -> bool:
        """Records a response. Returns True if it closes the breaker; responses to requests before the outage do not."""
        self.failures = 0
        if sent_at < self._opened_at:
            return False
        self.is_open = False
        self._opened_at = math.inf
        self._probes = 0
        self._closed_at = now
        return True

    def on_failure(self, now: float, sent_at: float, u: float) -> None:
        """Records a missing response or a server error. Requests sent before the last recovery do not count."""
        if sent_at < self._closed_at or self.is_open:
            return
        self.failures += 1
        if self.failures >= FAILURE_THRESHOLD:
            self.is_open = True
            self._opened_at = now
            self._next_probe = now + self._probe_delay(u)

    def _probe_delay(self, u: float) -> float:
        ceiling: float = min(MAX_PROBE_DELAY, FIRST_PROBE_DELAY * 2.0 ** min(self._probes, 16))
        return ceiling * (0.5 + u)
