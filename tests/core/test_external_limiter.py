"""Requests need permits from outside."""

from __future__ import annotations

import math

import pytest

from rivya_async import ConfigurationError, ExternalRateLimiter
from rivya_async._core.limits.circuit_breaker import FAILURE_THRESHOLD
from rivya_async._core.limits.rate_controller import RateController


def limiter_with(requests: float) -> ExternalRateLimiter:
    limiter = ExternalRateLimiter(lambda waiting: None)
    limiter.grant(requests)
    return limiter


def test_nothing_is_sent_before_a_grant() -> None:
    controller = RateController(limiter := limiter_with(0))
    assert controller.delay(0.0) == math.inf
    limiter.grant(2)
    for _ in range(2):
        assert controller.delay(0.0) == 0.0
        controller.on_request(0.0, 0.5)
    assert controller.delay(1000.0) == math.inf


def test_fractional_permits_do_not_count() -> None:
    controller = RateController(limiter := limiter_with(0.75))
    assert controller.delay(0.0) == math.inf
    limiter.grant(0.25)
    assert controller.delay(0.0) == 0.0


def test_revoke_removes_permits() -> None:
    controller = RateController(limiter := limiter_with(5))
    limiter.revoke()
    assert controller.delay(0.0) == math.inf


def test_unlimited_permits_are_not_consumed() -> None:
    controller = RateController(limiter := limiter_with(math.inf))
    for _ in range(1000):
        assert controller.delay(0.0) == 0.0
        controller.on_request(0.0, 0.5)
    limiter.revoke()
    assert controller.delay(0.0) == math.inf


def test_retry_after_delays_granted_requests_without_rate_estimate() -> None:
    controller = RateController(limiter_with(100))
    for _ in range(10):
        controller.on_request(0.0, 0.5)
        controller.on_success(0.0, 0.0)
    controller.on_rate_limited(0.1, 0.0, delay=3.0, retry_after=3.0)
    assert controller.delay(1.1) == 2.0
    controller.on_request(3.1, 0.5)
    assert controller.delay(3.1) == 0.0, "a learned rate would space them"


def test_outage_limits_permits_to_probes() -> None:
    controller = RateController(limiter_with(100))
    for _ in range(FAILURE_THRESHOLD):
        controller.on_failure(0.0, 0.0, 0.5)
    assert 0.0 < controller.delay(0.0) < math.inf


def test_limiter_serves_one_session() -> None:
    limiter = limiter_with(1)
    limiter.claim()
    with pytest.raises(ConfigurationError, match="create one for each"):
        limiter.claim()


def test_requests_more_and_notifies_on_grant() -> None:
    waiting: list[int] = []
    granted: list[float] = []
    limiter = ExternalRateLimiter(waiting.append)
    limiter.set_grant_callback(lambda: granted.append(limiter.available))
    limiter.request_more(3)
    limiter.grant(2)
    assert (waiting, granted) == ([3], [2])
    assert repr(limiter) == "<ExternalRateLimiter: 2 available>"
