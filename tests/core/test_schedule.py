"""When polls come: near the service's own advice at first, then ever further apart, always within their bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.hazard_curve import BIN_COUNT, BIN_WIDTHS, HazardCurve
from rivya_async._core.polling.intervals import POLL_COST, adaptive_interval, backoff_interval

draws = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)
ages = st.floats(min_value=0.0, max_value=1e7)
stretches = st.floats(min_value=1.0, max_value=1e3)
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
def test_the_first_poll_is_within_a_fifth_of_first(policy: PollPolicy, u: float) -> None:
    delay = backoff_interval(policy, 0, u)
    assert policy.first * 0.8 <= delay <= policy.first * 1.2 * (1 + 1e-12)


def test_by_default_the_first_look_comes_after_two_to_three_seconds() -> None:
    """The service's advice."""
    assert backoff_interval(PollPolicy(), 0, 0.0) == pytest.approx(2.0)
    assert backoff_interval(PollPolicy(), 0, 1.0) == pytest.approx(3.0)


@given(policies(), st.integers(1, 1_000_000), draws, ages)
def test_every_later_delay_stays_within_its_bounds(policy: PollPolicy, n: int, u: float, age: float) -> None:
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
        PollPolicy(base=5e-324, cap=1e308),
        PollPolicy(floor=10.0),
        PollPolicy(floor=0.0, first=0.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("u", [0.0, 0.5, math.nextafter(1.0, 0.0)])
def test_a_wait_of_thousands_of_polls_keeps_its_bounds(policy: PollPolicy, u: float) -> None:
    age = 0.0
    for n in range(5_000):
        delay = backoff_interval(policy, n, u, age)
        if n:
            assert policy.floor <= delay <= max(policy.cap, age / 10) * (1 + 1e-12)
        age = min(age + delay, 1e9)


def test_the_ceiling_rises_by_the_factor_up_to_the_cap_and_then_with_age() -> None:
    policy = PollPolicy(base=2.0, factor=2.0, cap=10.0, floor=0.0)
    assert [backoff_interval(policy, n, 1.0, age=600.0) for n in range(1, 6)] == [2.0, 4.0, 8.0, 60.0, 60.0]
    assert [backoff_interval(policy, n, 1.0, age=50.0) for n in range(1, 6)] == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_base_that_is_the_cap_grows_with_age_from_the_start() -> None:
    policy = PollPolicy(base=10.0, cap=10.0, floor=0.0)
    assert backoff_interval(policy, 1, 1.0, age=600.0) == 60.0
    assert backoff_interval(policy, 1, 1.0) == 10.0


def test_a_factor_of_one_keeps_the_base_as_the_ceiling() -> None:
    policy = PollPolicy(base=5.0, factor=1.0, cap=10.0, floor=0.0)
    assert {backoff_interval(policy, n, 1.0, age=1_000.0) for n in (1, 2, 10, 5_000)} == {5.0}


def test_a_base_below_the_floor_waits_the_floor() -> None:
    policy = PollPolicy(base=0.5, factor=2.0, cap=10.0, floor=1.0)
    assert backoff_interval(policy, 1, 1.0) == 1.0
    assert backoff_interval(policy, 3, 1.0) == 2.0


@given(st.integers(1, 200), draws, draws, ages)
def test_a_greater_draw_never_polls_sooner(n: int, one: float, other: float, age: float) -> None:
    low, high = sorted((one, other))
    assert backoff_interval(PollPolicy(), n, low, age) <= backoff_interval(PollPolicy(), n, high, age)


# --- learned --------------------------------------------------------------------------------------------------------


@given(curves, policies(), st.integers(0, 2), draws, st.tuples(ages, stretches))
def test_a_learned_delay_is_never_below_the_floor_nor_above_the_cap_once_such_jobs_end(
    curve: HazardCurve, policy: PollPolicy, n: int, u: float, age_and_stretch: tuple[float, float]
) -> None:
    age, stretch = age_and_stretch
    delay = adaptive_interval(curve, policy, n, u, age, stretch=stretch)
    assert delay >= policy.floor
    assert delay <= max(0.0, curve.settled_age - age) + max(policy.cap * stretch, 0.1 * max(age, curve.settled_age)) * (
        1 + 1e-9
    )
    if age >= curve.settled_age:
        assert delay <= max(policy.cap * stretch, age / 10) * (1 + 1e-9)


@given(curves, policies(), st.integers(0, 2), ages, st.tuples(stretches, stretches))
def test_a_higher_price_never_polls_sooner(
    curve: HazardCurve, policy: PollPolicy, n: int, age: float, two: tuple[float, float]
) -> None:
    low, high = sorted(two)
    dear = adaptive_interval(curve, policy, n, 0.3, age, stretch=high)
    assert adaptive_interval(curve, policy, n, 0.3, age, stretch=low) <= dear * (1 + 1e-9)


@given(curves, policies(), draws, draws, ages)
def test_only_the_first_poll_depends_on_the_draw(
    curve: HazardCurve, policy: PollPolicy, one: float, other: float, age: float
) -> None:
    low, high = sorted((one, other))
    assert adaptive_interval(curve, policy, 0, high, age) <= adaptive_interval(curve, policy, 0, low, age)
    assert adaptive_interval(curve, policy, 1, high, age) == adaptive_interval(curve, policy, 1, low, age)


def test_where_jobs_end_at_random_the_interval_is_that_of_the_books() -> None:
    """A hazard of 1/50 per second: sqrt(2 * 0.6 * 50) seconds; a stretch makes all of it longer."""
    curve = HazardCurve([width / 50 for width in BIN_WIDTHS])
    policy = PollPolicy(cap=100.0)
    interval = math.sqrt(2 * POLL_COST * 50)
    assert adaptive_interval(curve, policy, 1, 0.3, 20.0) == pytest.approx(interval)
    assert adaptive_interval(curve, policy, 0, 0.6) == pytest.approx(interval, abs=0.06)
    assert adaptive_interval(curve, policy, 1, 0.3, 20.0, stretch=2.0) == pytest.approx(2 * interval)


def test_a_job_that_nothing_is_known_of_any_more_is_polled_at_the_cap() -> None:
    curve = HazardCurve([1.0] * 10 + [0.0] * (BIN_COUNT - 10))
    assert adaptive_interval(curve, PollPolicy(), 3, 0.5, 50.0) == 10.0
    assert adaptive_interval(curve, PollPolicy(), 3, 0.5, 500.0) == 50.0
    assert adaptive_interval(curve, PollPolicy(), 3, 0.5, 50.0, stretch=3.0) == 30.0
