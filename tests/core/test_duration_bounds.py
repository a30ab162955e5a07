"""Bounds of learned durations under arbitrary errors of the service's clock, and under arbitrary loaded histories."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivya_async._core import assumptions
from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import CHECKED_JOBS, DurationEstimator
from rivya_async._core.polling.adaptive.duration_histogram import MAX_LOADED_JOBS
from rivya_async._core.polling.intervals import adaptive_interval, backoff_interval

POLICY: Final = PollPolicy()
LATEST_FIRST_POLL: Final = 1.2 * POLICY.first
Report = Callable[[float, float, random.Random], float | None]

REPORTS: Final[dict[str, Report]] = {
    "honest": lambda true, seen, rng: true,
    "missing": lambda true, seen, rng: None,
    "offset": lambda true, seen, rng: true + 5.0,
    "early": lambda true, seen, rng: true - 5.0,
    "fast": lambda true, seen, rng: true * 1.2,
    "slow": lambda true, seen, rng: true * 0.5,
    "time zone": lambda true, seen, rng: true + 7200.0,
    "touched when read": lambda true, seen, rng: seen,
    "touched later": lambda true, seen, rng: seen + 600.0,
    "random": lambda true, seen, rng: rng.uniform(0.0, 2.0 * seen),
    "negative": lambda true, seen, rng: -true,
    "not a number": lambda true, seen, rng: math.nan,
}


class Simulation:
    """Consecutive jobs of one model, polled as a session polls them."""

    def __init__(self, report: Report, estimator: DurationEstimator | None = None, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.report = report
        self.estimator = estimator or DurationEstimator()
        self.longest = 0.0
        self.ended = 0

    def run(self, duration: float) -> float:
        """Runs a job; returns its latency. Asserts the bound of its first poll."""
        estimator, rng, u = self.estimator, self.rng, self.rng.random()
        is_checked = estimator.begins_check("m")
        age = opened = 0.0
        polls = 0
        while True:
            curve = None if is_checked else estimator.curve_for("m")
            if curve is None:
                age += backoff_interval(POLICY, polls, rng.random(), age)
            else:
                age += adaptive_interval(curve, POLICY, polls, u, age)
            if polls == 0:
                assert age <= self.first_poll_bound
            polls += 1
            if age >= duration:
                break
            estimator.observe_open("m", age, opened)
            opened = age
        estimator.observe_end("m", (opened, age), self.report(duration, age, rng), opened)
        self.longest = max(self.longest, duration)
        self.ended += 1
        return age - duration

    @property
    def first_poll_bound(self) -> float:
        unknown = 0.0 if self.ended else assumptions.DEFAULT_TYPICAL_DURATION
        return max(LATEST_FIRST_POLL, self.longest, unknown) + 1e-9


def backoff_latency(durations: list[float]) -> float:
    rng = random.Random(2)
    latencies = []
    for duration in durations:
        age, polls = 0.0, 0
        while age < duration:
            age += backoff_interval(POLICY, polls, rng.random(), age)
            polls += 1
        latencies.append(age - duration)
    return fmean(latencies)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize(("median", "sigma"), [(5.0, 0.3), (30.0, 0.0), (30.0, 0.3), (30.0, 1.0), (300.0, 0.2)])
def test_latency_stays_near_backoff_for_any_clock(report: Report, median: float, sigma: float) -> None:
    rng = random.Random(3)
    durations = [median * math.exp(sigma * rng.gauss(0.0, 1.0)) for _ in range(320)]
    simulation = Simulation(report)
    latencies = [simulation.run(duration) for duration in durations][20:]
    assert fmean(latencies) <= 1.5 * backoff_latency(durations * 3)


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    bins = st.lists(st.floats(min_value=0.0, max_value=1e9), max_size=160)
    group = {"ends": draw(st.integers(0, 10**6)), "open": draw(bins), "ended": draw(bins)}
    return {"version": 1, "groups": {"m": group}}


@settings(max_examples=60)
@given(
    histories(),
    st.lists(st.floats(min_value=0.1, max_value=1e4), min_size=1, max_size=30),
    st.sampled_from(sorted(REPORTS)),
    st.integers(0, 1000),
)
def test_first_poll_is_bounded_for_any_history_and_clock(
    history: dict[str, Any], durations: list[float], report: str, seed: int
) -> None:
    estimator = DurationEstimator()
    estimator.load(history)
    simulation = Simulation(REPORTS[report], estimator, seed)
    for duration in durations:
        simulation.run(duration)


def test_loaded_history_weighs_at_most_ten_jobs() -> None:
    source = DurationEstimator()
    for _ in range(200):
        source.observe("m", 20.0)
    loaded = DurationEstimator()
    loaded.load(source.dump())
    group = loaded.dump()["groups"]["m"]
    assert group["ends"] == MAX_LOADED_JOBS
    assert max(group["open"]) <= MAX_LOADED_JOBS


def test_own_jobs_replace_a_loaded_history_that_they_contradict() -> None:
    source = DurationEstimator()
    for _ in range(200):
        source.observe("m", 600.0)
    simulation, fresh = Simulation(REPORTS["honest"], seed=4), Simulation(REPORTS["honest"], seed=4)
    simulation.estimator.load(source.dump())
    for _ in range(10):
        simulation.run(20.0)
        fresh.run(20.0)
    assert max(simulation.estimator.dump()["groups"]["m"]["open"][105:]) < 0.1
    assert fmean(simulation.run(20.0) for _ in range(50)) <= 1.5 * fmean(fresh.run(20.0) for _ in range(50))


def test_foreign_jobs_count_only_where_polls_confirm_them() -> None:
    estimator = DurationEstimator()
    estimator.observe_end("m", (3.0, 8.0), 3600.0, is_own=False)
    estimator.observe_end("m", (3.0, 8.0), None, is_own=False)
    assert estimator.curve_for("m") is None
    estimator.observe_end("m", (3.0, 8.0), 8.9, is_own=False)
    curve = estimator.curve_for("m")
    assert curve is not None
    assert curve.longest == assumptions.DEFAULT_TYPICAL_DURATION
    assert estimator.dump()["groups"]["m"]["ends"] == 1


def test_one_job_in_twenty_ignores_the_estimate() -> None:
    estimator = DurationEstimator()
    checked = [estimator.begins_check("m") for _ in range(5 * CHECKED_JOBS)]
    assert sum(checked) == 5
    assert estimator.dump()["groups"] == {}


def test_skipped_polls_prove_nothing() -> None:
    estimator = DurationEstimator()
    estimator.observe("m", 2.0)
    estimator.observe_open("m", 900.0, was_polled=False)
    curve = estimator.curve_for("m")
    assert curve is not None
    assert curve.longest == 2.0
