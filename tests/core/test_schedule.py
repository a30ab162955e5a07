"""When polls come: near the service's own advice at first, then ever further apart, always within their bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.policies import PollPolicy
from rivya_async._core.schedule import next_delay

draws = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)
ages = st.floats(min_value=0.0, max_value=1e7)


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
    delay = next_delay(policy, 0, u)
    assert policy.first * 0.8 <= delay <= policy.first * 1.2 * (1 + 1e-12)


def test_by_default_the_first_look_comes_after_two_to_three_seconds() -> None:
    """The service's advice."""
    assert next_delay(PollPolicy(), 0, 0.0) == pytest.approx(2.0)
    assert next_delay(PollPolicy(), 0, 1.0) == pytest.approx(3.0)


@given(policies(), st.integers(1, 1_000_000), draws, ages)
def test_every_later_delay_stays_within_its_bounds(policy: PollPolicy, n: int, u: float, age: float) -> None:
    delay = next_delay(policy, n, u, age)
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
        delay = next_delay(policy, n, u, age)
        if n:
            assert policy.floor <= delay <= max(policy.cap, age / 10) * (1 + 1e-12)
        age = min(age + delay, 1e9)


def test_the_ceiling_rises_by_the_factor_up_to_the_cap_and_then_with_age() -> None:
    policy = PollPolicy(base=2.0, factor=2.0, cap=10.0, floor=0.0)
    assert [next_delay(policy, n, 1.0, age=600.0) for n in range(1, 6)] == [2.0, 4.0, 8.0, 60.0, 60.0]
    assert [next_delay(policy, n, 1.0, age=50.0) for n in range(1, 6)] == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_base_that_is_the_cap_grows_with_age_from_the_start() -> None:
    policy = PollPolicy(base=10.0, cap=10.0, floor=0.0)
    assert next_delay(policy, 1, 1.0, age=600.0) == 60.0
    assert next_delay(policy, 1, 1.0) == 10.0


def test_a_factor_of_one_keeps_the_base_as_the_ceiling() -> None:
    policy = PollPolicy(base=5.0, factor=1.0, cap=10.0, floor=0.0)
    assert {next_delay(policy, n, 1.0, age=1_000.0) for n in (1, 2, 10, 5_000)} == {5.0}


def test_a_base_below_the_floor_waits_the_floor() -> None:
    policy = PollPolicy(base=0.5, factor=2.0, cap=10.0, floor=1.0)
    assert next_delay(policy, 1, 1.0) == 1.0
    assert next_delay(policy, 3, 1.0) == 2.0


@given(st.integers(1, 200), draws, draws, ages)
def test_a_greater_draw_never_polls_sooner(n: int, one: float, other: float, age: float) -> None:
    low, high = sorted((one, other))
    assert next_delay(PollPolicy(), n, low, age) <= next_delay(PollPolicy(), n, high, age)
