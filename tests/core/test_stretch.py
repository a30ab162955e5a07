"""The stretch is elapsed time over the time that the polls' clock has run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.polling.intervals import MAX_SLOWDOWN, MEASUREMENT_WINDOW, PollSlowdown


def test_a_clock_that_runs_on_time_stretches_nothing() -> None:
    stretch = PollSlowdown(100.0)
    assert stretch.factor_at(100.0, 0.0) == stretch.factor_at(100.0 + MEASUREMENT_WINDOW, 0.0) == 1.0


@pytest.mark.parametrize(
    ("lag", "value"), [(0.0, 1.0), (5.0, 2.0), (7.5, 4.0), (10.0, MAX_SLOWDOWN), (9.99999, MAX_SLOWDOWN)]
)
def test_the_value_is_elapsed_over_run(lag: float, value: float) -> None:
    assert PollSlowdown(0.0).factor_at(10.0, lag) == pytest.approx(value)


def test_it_is_measured_over_a_horizon_and_kept_until_the_next() -> None:
    stretch = PollSlowdown(0.0)
    assert stretch.factor_at(MEASUREMENT_WINDOW - 0.1, MEASUREMENT_WINDOW - 1.0) == 1.0
    assert stretch.factor_at(MEASUREMENT_WINDOW, MEASUREMENT_WINDOW / 2) == 2.0
    assert stretch.factor_at(MEASUREMENT_WINDOW + 1.0, MEASUREMENT_WINDOW / 2) == 2.0
    assert stretch.factor_at(2 * MEASUREMENT_WINDOW, MEASUREMENT_WINDOW / 2) == 1.0


def test_what_is_forgotten_counts_no_more() -> None:
    stretch = PollSlowdown(0.0)
    stretch.reset(120.0, 118.0)
    assert stretch.factor_at(120.0 + MEASUREMENT_WINDOW, 118.0) == 1.0


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 1.0)), max_size=50))
def test_it_is_never_below_1_nor_above_the_most(steps: list[tuple[float, float]]) -> None:
    stretch, now, lag = PollSlowdown(0.0), 0.0, 0.0
    for elapsed, share in steps:
        now, lag = now + elapsed, lag + elapsed * share
        assert 1.0 - 1e-9 <= stretch.factor_at(now, lag) <= MAX_SLOWDOWN + 1e-9
