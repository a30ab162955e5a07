"""Estimate of the rate limit: first estimate, decrease, recovery and bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.limits.rate_controller import (
    DECREASE_FACTOR,
    GUESS_DECREASE_FACTOR,
    INITIAL_GUESS,
    MAX_HISTORY_SECONDS,
    MIN_RATE,
    RECOVERY_SECONDS,
    AdaptiveRate,
)


def test_unlimited_without_429() -> None:
    estimate = AdaptiveRate()
    estimate.on_success(0.0)
    assert estimate.rate_at(1e6) == math.inf


@pytest.mark.parametrize(
    ("granted", "window", "at", "limit"),
    [
        (100, 1.0, 0.1, 100.0),
        (100, 1.0, 0.9, 100.0),
        (600, 60.0, 5.0, 10.0),
        (600, 60.0, 55.0, 10.0),
        (60, 60.0, 0.5, 1.0),
        (60, 60.0, 59.0, 1.0),
    ],
)
def test_first_estimate_is_observed_rate(granted: int, window: float, at: float, limit: float) -> None:
    """The window starts with the first request, and ends with its Retry-After."""
    estimate = AdaptiveRate()
    for n in range(granted):
        estimate.on_success(at * n / granted)
    estimate.on_rejection(at, window - at)
    assert estimate.rate_at(window) == pytest.approx(max(limit, MIN_RATE), rel=0.1)


@pytest.mark.parametrize("elapsed", [30.0, 300.0])
def test_finds_short_window_in_long_traffic(elapsed: float) -> None:
    """Low traffic before the window does not lower the estimate."""
    estimate, now = AdaptiveRate(), 0.0
    while now < elapsed:
        estimate.on_success(now)
        now += 0.2
    for n in range(100):
        estimate.on_success(now + n / 400)
    estimate.on_rejection(now + 0.25, 0.75)
    assert estimate.rate_at(now + 1.0) == pytest.approx(100.0, rel=0.2)


def test_429s_without_retry_after_lower_high_estimate() -> None:
    estimate = AdaptiveRate()
    for _ in range(100):
        estimate.on_success(0.0)
    estimate.on_rejection(0.1, 0.25)
    rates = [estimate.rate_at(0.35)]
    assert 100.0 < rates[0] < 300.0
    now = 0.35
    for _ in range(20):
        estimate.on_success(now)
        estimate.on_rejection(now, 0.25)
        now += 0.25
        rates.append(estimate.rate_at(now))
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 50.0


def known(rate: float = 100.0, at: float = 0.0) -> AdaptiveRate:
    estimate = AdaptiveRate(rate)
    estimate.on_success(at)
    estimate.on_rejection(at, 1.0)
    return estimate


def test_429_reduces_rate_then_recovers_beyond() -> None:
    estimate = known(100.0)
    assert estimate.rate_at(0.5) == estimate.rate_at(1.0) == pytest.approx(100.0 * DECREASE_FACTOR)
    assert estimate.rate_at(1.0 + RECOVERY_SECONDS) == pytest.approx(100.0)
    assert estimate.rate_at(1.0 + RECOVERY_SECONDS / 2) > 98.0
    assert estimate.rate_at(1.0 + 2 * RECOVERY_SECONDS) == pytest.approx(110.0)
    climb = [estimate.rate_at(1.0 + seconds) for seconds in range(300)]
    assert climb == sorted(climb)


def test_second_429_reduces_current_rate() -> None:
    estimate = known(100.0)
    estimate.on_success(11.0)
    before = estimate.rate_at(11.0)
    estimate.on_rejection(11.0, 1.0)
    assert estimate.rate_at(12.0) == pytest.approx(before * DECREASE_FACTOR)


def test_guess_halves_on_429_and_doubles_with_time() -> None:
    estimate = AdaptiveRate()
    estimate.on_rejection(0.0, 1.0)
    assert estimate.rate_at(1.0) == INITIAL_GUESS
    assert estimate.rate_at(3.0) == 4 * INITIAL_GUESS
    estimate.on_rejection(3.0, 1.0)
    assert estimate.rate_at(4.0) == 4 * INITIAL_GUESS * GUESS_DECREASE_FACTOR


def test_success_ends_guess() -> None:
    estimate = AdaptiveRate()
    estimate.on_rejection(0.0, 1.0)
    estimate.on_success(3.0)
    guess = estimate.rate_at(4.0)
    estimate.on_rejection(4.0, 1.0)
    assert estimate.rate_at(5.0) == pytest.approx(guess * DECREASE_FACTOR)
    assert estimate.rate_at(5.0 + RECOVERY_SECONDS) == pytest.approx(guess)


def test_rate_stays_between_minimum_and_float_limit() -> None:
    estimate = AdaptiveRate()
    for n in range(200):
        estimate.on_rejection(float(n), 0.1)
    assert estimate.rate_at(199.1) >= MIN_RATE
    assert math.isfinite(estimate.rate_at(1e12))
    for n in range(200):
        estimate.on_success(float(n))
        estimate.on_rejection(float(n), 3600.0)
    assert estimate.rate_at(259.0) == pytest.approx(MIN_RATE)  # a minute of the hour counts


def test_history_is_limited() -> None:
    estimate = AdaptiveRate()
    for n in range(10_000):
        estimate.on_success(float(n))
    assert len(estimate._successes) == MAX_HISTORY_SECONDS


@given(
    st.sampled_from([math.inf, 5.0, 100.0]),
    st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 4000)), max_size=60),
)
def test_rate_is_always_valid(rate: float, steps: list[tuple[bool, float, float]]) -> None:
    estimate, now = AdaptiveRate(rate), 0.0
    for is_grant, gap, wait in steps:
        now += gap
        if is_grant:
            estimate.on_success(now)
        else:
            before = estimate.rate_at(now)
            estimate.on_rejection(now, wait)
            assert estimate.rate_at(now) <= max(before, MIN_RATE + 1e-9) or math.isinf(before)
        assert estimate.rate_at(now) >= MIN_RATE - 1e-9


def test_dump_and_load_round_trip() -> None:
    estimate = AdaptiveRate()
    estimate.on_success(0.0, 50)
    estimate.on_rejection(1.0, delay=1.0)
    restored = AdaptiveRate()
    restored.load(estimate.dump())
    assert [restored.rate_at(now) for now in (2.0, 10.0, 100.0)] == [
        estimate.rate_at(now) for now in (2.0, 10.0, 100.0)
    ]
    restored.on_rejection(3.0, delay=1.0)
    estimate.on_rejection(3.0, delay=1.0)
    assert restored.dump() == estimate.dump()


def test_records_requests_in_bulk() -> None:
    one_by_one, at_once = AdaptiveRate(), AdaptiveRate()
    for _ in range(30):
        one_by_one.on_success(5.0)
    at_once.on_success(5.0, 30)
    for estimate in (one_by_one, at_once):
        estimate.on_rejection(5.5, delay=0.5)
    assert one_by_one.rate_at(6.0) == at_once.rate_at(6.0)
