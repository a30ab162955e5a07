"""Rate of a session: configured, estimated, delayed by `Retry-After`, or limited to probes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rivya_async._core.limits.circuit_breaker import FAILURE_THRESHOLD, RECOVERY_DURATION, RECOVERY_RATE
from rivya_async._core.limits.rate_controller import (
    MAX_RETRY_TOKENS,
    RETRIES_PER_RESPONSE,
    RETRIES_PER_SECOND,
    RateController,
)
from rivya_async._core.policies import RateLimit


def sent(controller: RateController, requests: int, now: float = 0.0, *, answered: bool = False) -> list[float]:
    """Returns the times of requests that are sent as soon as possible."""
    times = []
    for _ in range(requests):
        now += controller.delay(now)
        controller.on_request(now, 0.5)
        times.append(round(now, 6))
        if answered:
            controller.on_success(now, now)
    return times


def fail(controller: RateController, now: float, times: int = FAILURE_THRESHOLD) -> None:
    for _ in range(times):
        controller.on_failure(now, now, 0.5)


def test_unlimited_until_first_429() -> None:
    controller = RateController()
    assert sent(controller, 1000) == [0.0] * 1000
    assert controller.is_unlimited
    controller.on_rate_limited(0.0, 0.0, delay=1.0, retry_after=1.0)
    assert not controller.is_unlimited
    assert controller.delay(0.0) == 1.0


def test_configured_limit_applies_from_start() -> None:
    controller = RateController(RateLimit(10, 2))
    assert not controller.is_unlimited
    assert sent(controller, 5, answered=True) == [0, 0, 0.1, 0.2, 0.3]


def test_429_lowers_configured_limit_and_never_raises_it() -> None:
    controller = RateController(RateLimit(100, 1))
    sent(controller, 10, answered=True)
    controller.on_rate_limited(1.0, 0.9, delay=1.0, retry_after=1.0)
    slower = sent(controller, 11, now=1.0)
    assert slower[0] == 2.0
    assert (slower[-1] - slower[0]) / 10 == pytest.approx(1 / 90, rel=0.02)
    later = sent(controller, 101, now=1000.0)
    assert later[-1] - later[0] == pytest.approx(1.0, rel=0.02)


def test_estimated_rate_is_even() -> None:
    controller = RateController()
    for n in range(100):
        controller.on_success(n / 1000, n / 1000)
    controller.on_rate_limited(0.1, 0.05, delay=0.9, retry_after=0.9)
    times = sent(controller, 200, now=0.1)
    assert times[0] == 1.0
    gaps = [after - before for before, after in pairwise(times)]
    assert sum(gaps) / len(gaps) == pytest.approx(0.01, rel=0.15)


def test_retry_after_delays_requests_below_limit() -> None:
    controller = RateController(RateLimit(1000, 100))
    sent(controller, 10)
    controller.on_rate_limited(0.5, 0.4, delay=7.0, retry_after=7.0)
    times = sent(controller, 2, now=0.5)
    assert times[0] == 7.5
    assert times[1] > times[0]


def test_in_flight_requests_extend_delay_without_new_estimate() -> None:
    controller, other = RateController(RateLimit(100)), RateController(RateLimit(100))
    for rejected in (controller, other):
        sent(rejected, 50, answered=True)
        rejected.on_rate_limited(1.0, 0.9, delay=1.0, retry_after=1.0)
    for n in range(50):
        controller.on_rate_limited(1.0 + n / 100, 0.95, delay=1.0, retry_after=1.0)
    assert (controller.consecutive_rejections, other.consecutive_rejections) == (1, 1)
    assert controller.delay(1.0) == pytest.approx(1.49)
    steady, expected = sent(controller, 100, now=10.0), sent(other, 100, now=10.0)
    assert steady[-1] - steady[0] == pytest.approx(expected[-1] - expected[0])


def test_delay_below_retry_after_ends_early_and_estimates_once_a_minute() -> None:
    """The service requests an hour; probes every half minute get the same 429."""
    controller = RateController()
    for _ in range(60):
        controller.on_success(0.0, 0.0)
    controller.on_rate_limited(0.1, 0.05, delay=30.0, retry_after=3600.0)
    assert controller.delay(0.1) == 30.0
    now = 30.1
    for _ in range(20):
        controller.on_request(now, 0.5)
        controller.on_rate_limited(now + 0.1, now, delay=30.0, retry_after=3600.0)
        assert controller.delay(now + 0.1) == pytest.approx(30.0)
        now += 30.1
    assert controller.consecutive_rejections == 11  # at most one in a minute
    for n in range(20):
        controller.on_success(now + n, now + n)
    assert controller.delay(now + 60.0) == 0.0


def test_counts_consecutive_429s() -> None:
    controller, now = RateController(), 0.0
    for expected in range(1, 6):
        controller.on_rate_limited(now + 0.1, now, delay=1.0)
        assert controller.consecutive_rejections == expected
        now += 2.0
    controller.on_success(now, now - 1.5)  # sent before the last 429
    assert controller.consecutive_rejections == 5
    controller.on_success(now + 0.1, now)
    assert controller.consecutive_rejections == 0


def test_outage_sends_only_probes() -> None:
    controller = RateController()
    fail(controller, 0.0, FAILURE_THRESHOLD - 1)
    assert controller.is_unlimited
    fail(controller, 0.0, 1)
    assert controller.is_down
    assert not controller.is_unlimited
    times = sent(controller, 6)
    assert times == [0.5, 1.5, 3.5, 7.5, 15.5, 23.5]
    assert controller.outage_duration(30.0) == 30.0
    assert controller.is_down


def test_rate_recovers_to_unlimited_after_outage() -> None:
    controller = RateController()
    fail(controller, 0.0)
    sent(controller, 3)
    assert controller.on_success(10.0, 9.9)
    assert not controller.on_success(10.0, 9.95)
    assert not controller.is_down
    first = [at for at in sent(controller, 200, now=10.0) if at < 11.0]
    assert RECOVERY_RATE <= len(first) <= 2 * RECOVERY_RATE
    assert not controller.is_unlimited
    sent(controller, 1, now=10.0 + RECOVERY_DURATION)
    assert controller.is_unlimited


def test_configured_limit_applies_after_outage() -> None:
    controller = RateController(RateLimit(50, 1))
    fail(controller, 0.0)
    controller.on_success(10.0, 9.9)
    times = sent(controller, 301, now=18.0)
    assert times[-1] - times[0] == pytest.approx(6.0, rel=0.02)


def test_429_ends_outage_and_delays() -> None:
    controller = RateController()
    fail(controller, 0.0)
    controller.on_request(0.5, 0.5)
    controller.on_rate_limited(0.6, 0.5, delay=3.0, retry_after=3.0)
    assert not controller.is_down
    assert controller.delay(0.6) == pytest.approx(3.0)


def test_responses_refill_retry_tokens() -> None:
    controller, now = RateController(), 0.0
    for _ in range(int(MAX_RETRY_TOKENS)):
        assert controller.has_retry_token(now)
        controller.take_retry_token(now)
    assert not controller.has_retry_token(now)
    assert controller.has_retry_token(now + 1.0 / RETRIES_PER_SECOND)
    for _ in range(round(1.0 / RETRIES_PER_RESPONSE)):
        assert not controller.has_retry_token(now)
        controller.on_success(now, now)
    assert controller.has_retry_token(now)


events = st.tuples(
    st.sampled_from(["send", "grant", "refuse", "fail"]),
    st.floats(0.0, 20.0),
    st.floats(0.0, 40.0),
    st.floats(0, 0.999),
)


@given(st.sampled_from([None, RateLimit(5), RateLimit(0.1, 1), RateLimit(1e6)]), st.lists(events, max_size=150))
@example(
    RateLimit(1e6),
    [("send", 0.0, 0.0, 0.0), ("fail", 0.0, 0.0, 0.875), ("refuse", 0.0, 0.0, 0.0), ("send", 0.0, 0.0, 0.0)],
)
def test_delay_is_always_finite(limit: RateLimit | None, steps: list[tuple[str, float, float, float]]) -> None:
    """No state stops a session for ever, or for longer than requested."""
    controller, now, held = RateController(limit), 0.0, 0.0
    pace = 1.0 if limit is None else max(1.0, 1.0 / limit.per_second)
    for step, gap, span, u in steps:
        now += gap
        if step == "send":
            now += controller.delay(now)
            assert controller.delay(now) <= 1e-6
            controller.on_request(now, u)
        elif step == "grant":
            controller.on_success(now, now - span)
        elif step == "refuse":
            controller.on_rate_limited(now, now - gap, min(span, 30.0), span)
            held = max(held, now + min(span, 30.0))
        else:
            fail(controller, now, 1 + int(u * 25))
        wait = controller.delay(now)
        assert math.isfinite(wait)
        assert wait <= max(0.0, held - now) + pace + 12.0 + 1e-6
        assert not (controller.is_unlimited and wait)


@pytest.mark.parametrize("limit", [None, RateLimit(100)])
def test_forgotten_rate_is_that_before_the_first_rejection(limit: RateLimit | None) -> None:
    controller = RateController(limit)
    for second in range(5):
        controller.on_success(100.0 + second / 10, 99.0)
    controller.on_rate_limited(101.0, 100.9, 0.5)
    controller.forget_rate()
    assert controller.delay(101.0) > 0
    controller.on_request(110.0, 0.5)
    assert controller.is_unlimited is (limit is None)
    assert controller.delay(110.02) == 0
