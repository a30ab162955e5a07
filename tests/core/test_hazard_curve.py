"""The integral of the hazard curve grows with the age; `age_at` is its inverse."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.polling.intervals import (
    BIN_COUNT,
    BIN_EDGES,
    BIN_WIDTHS,
    HazardCurve,
    bin_position,
    prior_hazards,
)

hazards = st.lists(st.just(0.0) | st.floats(min_value=1e-12, max_value=1e3), min_size=16, max_size=16).map(
    lambda each: [each[n * 16 // BIN_COUNT] for n in range(BIN_COUNT)]
)
ages = st.floats(min_value=0.0, max_value=1e7)


@given(hazards, ages, ages)
def test_integral_is_monotonic(each: list[float], one: float, other: float) -> None:
    curve = HazardCurve(each)
    low, high = sorted((one, other))
    assert 0.0 <= curve.integral(low) <= curve.integral(high)


@given(hazards, st.floats(min_value=1e-6, max_value=1e4))
def test_age_at_inverts_integral(each: list[float], integral: float) -> None:
    curve = HazardCurve(each)
    age = curve.age_at(integral)
    if math.isinf(age):
        assert integral >= curve.integral(1e7)
    else:
        assert curve.integral(age) == pytest.approx(integral, rel=1e-6, abs=1e-6)


def test_constant_hazard_has_known_integral() -> None:
    """With one end per hundred seconds the integral of sqrt(0.01) is a tenth of the age."""
    curve = HazardCurve([width / 100 for width in BIN_WIDTHS])
    for age in (1.0, 30.0, 77.7, 600.0):
        assert curve.integral(age) == pytest.approx((age - BIN_EDGES[0]) / 10)
        assert curve.age_at(curve.integral(age)) == pytest.approx(age)
    assert curve.settled_age == pytest.approx(-100 * math.log(0.75), rel=0.1)


def test_hazard_is_zero_outside_bins() -> None:
    curve = HazardCurve([0.1] * BIN_COUNT)
    assert curve.integral(0.0) == curve.integral(BIN_EDGES[0]) == 0.0
    assert curve.integral(BIN_EDGES[-1]) == curve.integral(BIN_EDGES[-1] * 10)
    assert curve.age_at(curve.integral(BIN_EDGES[-1])) == math.inf


def test_age_is_infinite_without_ends() -> None:
    curve = HazardCurve([0.0] * BIN_COUNT)
    assert curve.age_at(0.0) == curve.age_at(1.0) == math.inf
    assert curve.settled_age == BIN_EDGES[-1]


def test_settled_age_has_a_quarter_ended() -> None:
    each = [0.0] * BIN_COUNT
    each[79] = 0.2
    each[80] = 0.1
    assert HazardCurve(each).settled_age == pytest.approx(BIN_EDGES[81])


@pytest.mark.parametrize(
    ("age", "where"),
    [
        (0.0, 0.0),
        (-1.0, 0.0),
        (5e-324, 0.0),
        (BIN_EDGES[0], 0.0),
        (BIN_EDGES[0] * math.exp(0.04), 0.5),
        (BIN_EDGES[80] * math.exp(0.02), 80.25),
        (1e9, BIN_COUNT - 0.001),
        (math.inf, BIN_COUNT - 0.001),
    ],
)
def test_every_age_has_a_bin(age: float, where: float) -> None:
    assert bin_position(age) == pytest.approx(where, abs=1e-9)
    assert 0 <= int(bin_position(age)) < BIN_COUNT


@pytest.mark.parametrize("median", [0.0, 40.4, 80.0, BIN_COUNT - 0.001])
def test_prior_hazards_have_given_median(median: float) -> None:
    each = prior_hazards(median)
    assert len(each) == BIN_COUNT
    assert all(0.0 <= before <= after for before, after in pairwise(each))
    if 40 <= median <= 120:
        assert sum(each[: round(median)]) == pytest.approx(math.log(2.0), rel=1e-3)
