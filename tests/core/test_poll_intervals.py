"""Poll intervals: the recommended start, exponential growth, and bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.intervals import (
    BIN_COUNT,
    BIN_WIDTHS,
    MAX_SLOWDOWN,
    MEASUREMENT_WINDOW,
    POLL_COST,
    HazardCurve,
    PollSlowdown,
    adaptive_interval,
    backoff_interval,
)

draws = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)
ages = st.floats(min_value=0.0, max_value=1e7)
slowdowns = st.floats(min_value=1.0, max_value=1e3)
curves = st.lists(st.just(0.0) | st.floats(min_value=1e-9, max_value=1e2), min_size=16, max_size=16).map(
    lambda hazards: HazardCurve([hazards[n * 16 // BIN_COUNT] for n in range(BIN_COUNT)])
)


@st.composite
def policies(draw: st.DrawFn) -> PollPolicy:
    cap = draw(st.floats(min_value=1e-300, max_value=1e6))
    return PollPolicy(
        first=draw(st.floats(min_value=0.0, max_value=1e6)),
        base=draw(st.floats(min_value=0.0, max_value=cap, exclude_min=True)),
        cap=cap,
        factor=draw(st.floats(min_value=1.0, max_value=1e300)),
        floor=draw(st.floats(min_value=0.0, max_value=cap)),
    )


@given(policies(), draws)
def test_first_poll_is_within_a_fifth_of_first(policy: PollPolicy, u: float) -> None:
    delay = backoff_interval(policy, 0, u)
    assert policy.first * 0.8 <= delay <= policy.first * 1.2 * (1 + 1e-12)


def test_default_first_poll_is_after_two_to_three_seconds() -> None:
    """The service recommends it."""
    assert backoff_interval(PollPolicy(), 0, 0.0) == pytest.approx(2.0)
    assert backoff_interval(PollPolicy(), 0, 1.0) == pytest.approx(3.0)


@given(policies(), st.integers(1, 1_000_000), draws, ages)
def test_later_intervals_stay_in_bounds(policy: PollPolicy, n: int, u: float, age: float) -> None:
    delay = backoff_interval(policy, n, u, age)
    assert math.isfinite(delay)
    assert policy.floor <= delay <= max(policy.cap, age / 10) * (1 + 1e-12)


@pytest.mark.parametrize(
    "policy",
    [
        PollPolicy(),
        PollPolicy(factor=1.0),
        PollPolicy(factor=1.0 + 2e-16),
        PollPolicy(factor=1e308),
        PollPolicy(base=1e-300, factor=1e200, cap=1e100),
        PollPolicy(base=5e-324, cap=1e308),
        PollPolicy(floor=10.0),
        PollPolicy(floor=0.0, first=0.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("u", [0.0, 0.5, math.nextafter(1.0, 0.0)])
def test_thousands_of_polls_stay_in_bounds(policy: PollPolicy, u: float) -> None:
    age = 0.0
    for n in range(5_000):
        delay = backoff_interval(policy, n, u, age)
        if n:
            assert policy.floor <= delay <= max(policy.cap, age / 10) * (1 + 1e-12)
        age = min(age + delay, 1e9)


def test_ceiling_grows_by_factor_then_with_age() -> None:
    policy = PollPolicy(base=2.0, factor=2.0, cap=10.0, floor=0.0)
    assert [backoff_interval(policy, n, 1.0, age=600.0) for n in range(1, 6)] == [2.0, 4.0, 8.0, 60.0, 60.0]
    assert [backoff_interval(policy, n, 1.0, age=50.0) for n in range(1, 6)] == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_base_equal_to_cap_grows_with_age() -> None:
    policy = PollPolicy(base=10.0, cap=10.0, floor=0.0)
    assert backoff_interval(policy, 1, 1.0, age=600.0) == 60.0
    assert backoff_interval(policy, 1, 1.0) == 10.0


def test_factor_one_keeps_base() -> None:
    policy = PollPolicy(base=5.0, factor=1.0, cap=10.0, floor=0.0)
    assert {backoff_interval(policy, n, 1.0, age=1_000.0) for n in (1, 2, 10, 5_000)} == {5.0}


def test_base_below_floor_waits_floor() -> None:
    policy = PollPolicy(base=0.5, factor=2.0, cap=10.0, floor=1.0)
    assert backoff_interval(policy, 1, 1.0) == 1.0
    assert backoff_interval(policy, 3, 1.0) == 2.0


@given(st.integers(1, 200), draws, draws, ages)
def test_interval_is_monotonic_in_random_number(n: int, one: float, other: float, age: float) -> None:
    low, high = sorted((one, other))
    assert backoff_interval(PollPolicy(), n, low, age) <= backoff_interval(PollPolicy(), n, high, age)


# --- adaptive intervals -----------------------------------------------------------------------------------------------


@given(curves, policies(), st.integers(0, 2), draws, st.tuples(ages, slowdowns))
def test_adaptive_interval_stays_in_bounds(
    curve: HazardCurve, policy: PollPolicy, n: int, u: float, age_and_slowdown: tuple[float, float]
) -> None:
    age, stretch = age_and_slowdown
    delay = adaptive_interval(curve, policy, n, u, age, slowdown=stretch)
    assert delay >= policy.floor
    assert delay <= max(0.0, curve.settled_age - age) + max(policy.cap * stretch, 0.1 * max(age, curve.settled_age)) * (
        1 + 1e-9
    )
    if age >= curve.settled_age:
        assert delay <= max(policy.cap * stretch, age / 10) * (1 + 1e-9)


@given(curves, policies(), st.integers(0, 2), ages, st.tuples(slowdowns, slowdowns))
def test_slowdown_never_shortens_interval(
    curve: HazardCurve, policy: PollPolicy, n: int, age: float, two: tuple[float, float]
) -> None:
    low, high = sorted(two)
    longer = adaptive_interval(curve, policy, n, 0.3, age, slowdown=high)
    assert adaptive_interval(curve, policy, n, 0.3, age, slowdown=low) <= longer * (1 + 1e-9)


@given(curves, policies(), draws, draws, ages)
def test_only_first_poll_is_random(
    curve: HazardCurve, policy: PollPolicy, one: float, other: float, age: float
) -> None:
    low, high = sorted((one, other))
    assert adaptive_interval(curve, policy, 0, high, age) <= adaptive_interval(curve, policy, 0, low, age)
    assert adaptive_interval(curve, policy, 1, high, age) == adaptive_interval(curve, policy, 1, low, age)


def test_constant_hazard_has_optimal_interval() -> None:
    """A hazard of 1/50 per second: sqrt(2 * 0.6 * 50) seconds; a slowdown multiplies it."""
    curve = HazardCurve([width / 50 for width in BIN_WIDTHS])
    policy = PollPolicy(cap=100.0)
    interval = math.sqrt(2 * POLL_COST * 50)
    assert adaptive_interval(curve, policy, 1, 0.3, 20.0) == pytest.approx(interval)
    assert adaptive_interval(curve, policy, 0, 0.6) == pytest.approx(interval, abs=0.06)
    assert adaptive_interval(curve, policy, 1, 0.3, 20.0, slowdown=2.0) == pytest.approx(2 * interval)


def test_unknown_hazard_uses_cap() -> None:
    curve = HazardCurve([1.0] * 10 + [0.0] * (BIN_COUNT - 10))
    assert adaptive_interval(curve, PollPolicy(), 3, 0.5, 50.0) == 10.0
    assert adaptive_interval(curve, PollPolicy(), 3, 0.5, 500.0) == 50.0
    assert adaptive_interval(curve, PollPolicy(), 3, 0.5, 50.0, slowdown=3.0) == 30.0


def test_punctual_clock_has_factor_one() -> None:
    stretch = PollSlowdown(100.0)
    assert stretch.factor_at(100.0, 0.0) == stretch.factor_at(100.0 + MEASUREMENT_WINDOW, 0.0) == 1.0


@pytest.mark.parametrize(
    ("lag", "value"), [(0.0, 1.0), (5.0, 2.0), (7.5, 4.0), (10.0, MAX_SLOWDOWN), (9.99999, MAX_SLOWDOWN)]
)
def test_factor_is_elapsed_over_clock_time(lag: float, value: float) -> None:
    assert PollSlowdown(0.0).factor_at(10.0, lag) == pytest.approx(value)


def test_factor_is_kept_for_measurement_window() -> None:
    stretch = PollSlowdown(0.0)
    assert stretch.factor_at(MEASUREMENT_WINDOW - 0.1, MEASUREMENT_WINDOW - 1.0) == 1.0
    assert stretch.factor_at(MEASUREMENT_WINDOW, MEASUREMENT_WINDOW / 2) == 2.0
    assert stretch.factor_at(MEASUREMENT_WINDOW + 1.0, MEASUREMENT_WINDOW / 2) == 2.0
    assert stretch.factor_at(2 * MEASUREMENT_WINDOW, MEASUREMENT_WINDOW / 2) == 1.0


def test_reset_starts_new_measurement() -> None:
    stretch = PollSlowdown(0.0)
    stretch.reset(120.0, 118.0)
    assert stretch.factor_at(120.0 + MEASUREMENT_WINDOW, 118.0) == 1.0


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 1.0)), max_size=50))
def test_factor_is_between_one_and_maximum(steps: list[tuple[float, float]]) -> None:
    stretch, now, lag = PollSlowdown(0.0), 0.0, 0.0
    for elapsed, share in steps:
        now, lag = now + elapsed, lag + elapsed * share
        assert 1.0 - 1e-9 <= stretch.factor_at(now, lag) <= MAX_SLOWDOWN + 1e-9
