"""What 429s teach: the first estimate by any window, falls by a share, climbs that end below the limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.limits.adaptive_rate import (
    DECREASE_FACTOR,
    GUESS_DECREASE_FACTOR,
    INITIAL_GUESS,
    MAX_HISTORY_SECONDS,
    MIN_RATE,
    RECOVERY_SECONDS,
    AdaptiveRate,
)


def test_unlimited_without_429() -> None:
    learned = AdaptiveRate()
    learned.on_success(0.0)
    assert learned.rate_at(1e6) == math.inf


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
    """The window began with the first request, and its Retry-After ends with it."""
    learned = AdaptiveRate()
    for n in range(granted):
        learned.on_success(at * n / granted)
    learned.on_rejection(at, window - at)
    assert learned.rate_at(window) == pytest.approx(max(limit, MIN_RATE), rel=0.1)


@pytest.mark.parametrize("elapsed", [30.0, 300.0])
def test_finds_short_window_in_long_traffic(elapsed: float) -> None:
    """A quiet past does not make the estimate low: the best explanation counts."""
    learned, now = AdaptiveRate(), 0.0
    while now < elapsed:
        learned.on_success(now)
        now += 0.2
    for n in range(100):
        learned.on_success(now + n / 400)
    learned.on_rejection(now + 0.25, 0.75)
    assert learned.rate_at(now + 1.0) == pytest.approx(100.0, rel=0.2)


def test_429s_without_retry_after_lower_high_estimate() -> None:
    learned = AdaptiveRate()
    for _ in range(100):
        learned.on_success(0.0)
    learned.on_rejection(0.1, 0.25)
    rates = [learned.rate_at(0.35)]
    assert 100.0 < rates[0] < 300.0
    now = 0.35
    for _ in range(20):
        learned.on_success(now)
        learned.on_rejection(now, 0.25)
        now += 0.25
        rates.append(learned.rate_at(now))
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 50.0


def known(rate: float = 100.0, at: float = 0.0) -> AdaptiveRate:
    learned = AdaptiveRate(rate)
    learned.on_success(at)
    learned.on_rejection(at, 1.0)
    return learned


def test_429_reduces_rate_then_recovers_beyond() -> None:
    learned = known(100.0)
    assert learned.rate_at(0.5) == learned.rate_at(1.0) == pytest.approx(100.0 * DECREASE_FACTOR)
    assert learned.rate_at(1.0 + RECOVERY_SECONDS) == pytest.approx(100.0)
    assert learned.rate_at(1.0 + RECOVERY_SECONDS / 2) > 98.0
    assert learned.rate_at(1.0 + 2 * RECOVERY_SECONDS) == pytest.approx(110.0)
    climb = [learned.rate_at(1.0 + seconds) for seconds in range(300)]
    assert climb == sorted(climb)


def test_second_429_reduces_current_rate() -> None:
    learned = known(100.0)
    learned.on_success(11.0)
    before = learned.rate_at(11.0)
    learned.on_rejection(11.0, 1.0)
    assert learned.rate_at(12.0) == pytest.approx(before * DECREASE_FACTOR)


def test_guess_halves_on_429_and_doubles_with_time() -> None:
    learned = AdaptiveRate()
    learned.on_rejection(0.0, 1.0)
    assert learned.rate_at(1.0) == INITIAL_GUESS
    assert learned.rate_at(3.0) == 4 * INITIAL_GUESS
    learned.on_rejection(3.0, 1.0)
    assert learned.rate_at(4.0) == 4 * INITIAL_GUESS * GUESS_DECREASE_FACTOR


def test_success_ends_guess() -> None:
    learned = AdaptiveRate()
    learned.on_rejection(0.0, 1.0)
    learned.on_success(3.0)
    guess = learned.rate_at(4.0)
    learned.on_rejection(4.0, 1.0)
    assert learned.rate_at(5.0) == pytest.approx(guess * DECREASE_FACTOR)
    assert learned.rate_at(5.0 + RECOVERY_SECONDS) == pytest.approx(guess)


def test_rate_stays_between_minimum_and_float_limit() -> None:
    learned = AdaptiveRate()
    for n in range(200):
        learned.on_rejection(float(n), 0.1)
    assert learned.rate_at(199.1) >= MIN_RATE
    assert math.isfinite(learned.rate_at(1e12))
    for n in range(200):
        learned.on_success(float(n))
        learned.on_rejection(float(n), 3600.0)
    assert learned.rate_at(3799.0) == pytest.approx(MIN_RATE)


def test_history_is_limited() -> None:
    learned = AdaptiveRate()
    for n in range(10_000):
        learned.on_success(float(n))
    assert len(learned._successes) == MAX_HISTORY_SECONDS


@given(
    st.sampled_from([math.inf, 5.0, 100.0]),
    st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 4000)), max_size=60),
)
def test_rate_is_always_valid(rate: float, steps: list[tuple[bool, float, float]]) -> None:
    learned, now = AdaptiveRate(rate), 0.0
    for is_grant, gap, wait in steps:
        now += gap
        if is_grant:
            learned.on_success(now)
        else:
            before = learned.rate_at(now)
            learned.on_rejection(now, wait)
            assert learned.rate_at(now) <= max(before, MIN_RATE + 1e-9) or math.isinf(before)
        assert learned.rate_at(now) >= MIN_RATE - 1e-9


def test_dump_and_load_round_trip() -> None:
    learned = AdaptiveRate()
    learned.on_success(0.0, 50)
    learned.on_rejection(1.0, delay=1.0)
    heir = AdaptiveRate()
    heir.load(learned.dump())
    assert [heir.rate_at(now) for now in (2.0, 10.0, 100.0)] == [learned.rate_at(now) for now in (2.0, 10.0, 100.0)]
    heir.on_rejection(3.0, delay=1.0)
    learned.on_rejection(3.0, delay=1.0)
    assert heir.dump() == learned.dump()


def test_records_requests_in_bulk() -> None:
    one_by_one, at_once = AdaptiveRate(), AdaptiveRate()
    for _ in range(30):
        one_by_one.on_success(5.0)
    at_once.on_success(5.0, 30)
    for learned in (one_by_one, at_once):
        learned.on_rejection(5.5, delay=0.5)
    assert one_by_one.rate_at(6.0) == at_once.rate_at(6.0)
