"""A limit that is kept elsewhere: what is granted goes out, and nothing else."""

from __future__ import annotations

import math

import pytest

from rivya_async import ConfigurationError, ExternalRateLimiter
from rivya_async._core.limits.circuit_breaker import FAILURE_THRESHOLD
from rivya_async._core.limits.rate_controller import RateController


def allowance_of(requests: float) -> ExternalRateLimiter:
    allowance = ExternalRateLimiter(lambda waiting: None)
    allowance.grant(requests)
    return allowance


def test_nothing_is_sent_before_a_grant() -> None:
    budget = RateController(allowance := allowance_of(0))
    assert budget.delay(0.0) == math.inf
    allowance.grant(2)
    for _ in range(2):
        assert budget.delay(0.0) == 0.0
        budget.on_request(0.0, 0.5)
    assert budget.delay(1000.0) == math.inf


def test_fractional_permits_do_not_count() -> None:
    budget = RateController(allowance := allowance_of(0.75))
    assert budget.delay(0.0) == math.inf
    allowance.grant(0.25)
    assert budget.delay(0.0) == 0.0


def test_revoke_removes_permits() -> None:
    budget = RateController(allowance := allowance_of(5))
    allowance.revoke()
    assert budget.delay(0.0) == math.inf


def test_unlimited_permits_are_not_consumed() -> None:
    budget = RateController(allowance := allowance_of(math.inf))
    for _ in range(1000):
        assert budget.delay(0.0) == 0.0
        budget.on_request(0.0, 0.5)
    allowance.revoke()
    assert budget.delay(0.0) == math.inf


def test_retry_after_delays_granted_requests_without_rate_estimate() -> None:
    budget = RateController(allowance_of(100))
    for _ in range(10):
        budget.on_request(0.0, 0.5)
        budget.on_success(0.0, 0.0)
    budget.on_rate_limited(0.1, 0.0, delay=3.0, retry_after=3.0)
    assert budget.delay(1.1) == 2.0
    budget.on_request(3.1, 0.5)
    assert budget.delay(3.1) == 0.0, "a learned rate would space them"


def test_outage_limits_permits_to_probes() -> None:
    budget = RateController(allowance_of(100))
    for _ in range(FAILURE_THRESHOLD):
        budget.on_failure(0.0, 0.0, 0.5)
    assert 0.0 < budget.delay(0.0) < math.inf


def test_limiter_serves_one_session() -> None:
    allowance = allowance_of(1)
    allowance.claim()
    with pytest.raises(ConfigurationError, match="create one for each"):
        allowance.claim()
