"""Estimates of durations: few, drifting and simultaneous jobs, and invalid durations."""

from __future__ import annotations

import copy
import heapq
import json
import math
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import ConfigurationError
from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import MAX_GROUPS, DurationEstimator, duration_group
from rivya_async._core.polling.intervals import BIN_COUNT, POLL_COST, HazardCurve, adaptive_interval, backoff_interval

POLICY = PollPolicy()


def curve_of(estimator: DurationEstimator, group: str = "m", category: str | None = None) -> HazardCurve:
    curve = estimator.curve_for(group, category)
    assert curve is not None
    return curve


def with_adaptive(*seconds: float, group: str = "m") -> DurationEstimator:
    estimator = DurationEstimator()
    for each in seconds:
        estimator.observe(group, each)
    return estimator


def loaded(dump: dict[str, Any]) -> DurationEstimator:
    estimator = DurationEstimator()
    estimator.load(dump)
    return estimator


def spread_around(median: float, sigma: float, count: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [median * math.exp(sigma * rng.gauss(0.0, 1.0)) for _ in range(count)]


def first_poll(estimator: DurationEstimator, group: str = "m") -> float:
    return adaptive_interval(curve_of(estimator, group), POLICY, 0, 0.5)


# --- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "group"),
    [
        (None, "m"),
        ({}, "m"),
        ({"seed": 7, "aspect_ratio": "16:9", "prompt": "a kite"}, "m"),
        ({"duration": "5"}, "m?duration=5"),
        ({"duration": 5}, "m?duration=5"),
        ({"resolution": "720P", "duration": 5, "seed": 7}, "m?duration=5&resolution=720p"),
        ({"n_frames": "10", "size": "high"}, "m?n_frames=10&size=high"),
        ({"enable_pro": True}, "m?enable_pro=true"),
        ({"duration_seconds": 2.5}, "m?duration_seconds=2.5"),
        ({"quality": "a&b=c"}, "m?quality=a%26b%3Dc"),
        ({"duration": None, "resolution": ["720p"], "mode": {}}, "m"),
        ({"quality": "x" * 33}, "m"),
    ],
)
def test_groups_by_duration_params(params: dict[str, Any] | None, group: str) -> None:
    assert duration_group("m", params) == group


def test_group_name_is_shared() -> None:
    assert duration_group("m", {"duration": 5}) is duration_group("m", {"duration": "5"})


def test_unknown_model_has_no_curve() -> None:
    estimator = with_adaptive(10.0, group="other")
    estimator.observe_open("m", 5.0)
    assert estimator.curve_for("m") is None
    assert estimator.curve_for("m?duration=5", "video") is None


def test_new_group_uses_model_as_prior() -> None:
    estimator = with_adaptive(*spread_around(20.0, 0.1, 60), group="m?duration=5")
    assert estimator.curve_for("m?duration=10") is estimator.curve_for("m")
    estimator.observe_open("m?duration=10", 25.0)
    assert estimator.curve_for("m?duration=10") is estimator.curve_for("m")
    before = first_poll(estimator, "m?duration=10")
    for each in spread_around(100.0, 0.1, 20):
        estimator.observe("m?duration=10", each)
    assert first_poll(estimator, "m?duration=10") > 3 * before
    assert first_poll(estimator, "m?duration=5") == pytest.approx(before, rel=0.1)


def test_group_updates_its_model() -> None:
    assert first_poll(with_adaptive(*[60.0] * 20, group="m?duration=5")) > 30.0


def test_category_selects_prior() -> None:
    assert (
        curve_of(with_adaptive(10.0), category="video").settled_age
        > curve_of(with_adaptive(10.0), category="image").settled_age
    )
    assert curve_of(with_adaptive(10.0), category="hologram").settled_age == curve_of(with_adaptive(10.0)).settled_age
    many = spread_around(10.0, 0.3, 60)
    assert (
        curve_of(with_adaptive(*many), category="video").settled_age
        == curve_of(with_adaptive(*many), category="image").settled_age
    )


def test_curve_is_shared_until_refresh() -> None:
    estimator = with_adaptive(*[10.0] * 40)
    curve = estimator.curve_for("m")
    for _ in range(9):
        estimator.observe("m", 10.0)
        assert estimator.curve_for("m") is curve
    for _ in range(7):
        estimator.observe("m", 10.0)
    assert estimator.curve_for("m") is not curve


# --- invalid durations ------------------------------------------------------------------------------------------------


def test_zero_duration_counts_as_shortest() -> None:
    estimator = DurationEstimator()
    for _ in range(50):
        estimator.observe_open("m", 0.02)
        estimator.observe("m", 0.0, 0.02)
    assert first_poll(estimator) < 1.5


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf, -math.inf, 86_400.1, 1e300])
def test_ignores_implausible_durations(seconds: float) -> None:
    estimator = with_adaptive(seconds)
    assert estimator.curve_for("m") is None
    assert estimator.dump() == DurationEstimator().dump()


@pytest.mark.parametrize("seconds", [5e-324, 0.001, 0.05, 20_000.0, 86_400.0])
def test_accepts_shortest_and_longest_durations(seconds: float) -> None:
    estimator = with_adaptive(*[seconds] * 20)
    assert 1.0 <= first_poll(estimator) <= 20_000.0
    assert estimator.dump()["groups"]["m"]["ends"] == 20


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(min_value=0.0, max_value=1e5), st.floats(min_value=0.0, max_value=1e5)),
        max_size=60,
    ),
    st.floats(min_value=0.0, max_value=1e6),
    st.floats(min_value=0.0, max_value=1.0, exclude_max=True),
)
def test_intervals_stay_in_bounds_for_any_clock(
    observed: list[tuple[bool, float, float]], age: float, u: float
) -> None:
    estimator = with_adaptive(10.0)
    for ended, seconds, since in observed:
        (estimator.observe if ended else estimator.observe_open)("m", seconds, since)
        curve = curve_of(estimator)
        for n in (0, 1):
            delay = adaptive_interval(curve, POLICY, n, u, age)
            assert POLICY.floor <= delay
            assert delay <= max(0.0, curve.settled_age - age) + max(POLICY.cap, 0.1 * max(age, curve.settled_age)) * (
                1 + 1e-9
            )


# --- comparison with back-off -----------------------------------------------------------------------------------------


def cost_of(estimator: DurationEstimator | None, jobs: list[float], seed: int = 2) -> float:
    """Returns the mean latency in seconds and the mean polls of consecutive jobs."""
    rng = random.Random(seed)
    latency = polls = 0.0
    for seconds in jobs:
        age, n, u = 0.0, 0, rng.random()
        while age < seconds:
            if estimator is None:
                age += backoff_interval(POLICY, n, rng.random(), age)
            else:
                age += adaptive_interval(curve_of(estimator), POLICY, n, u, age)
            n += 1
        latency += age - seconds
        polls += n
    return (latency + POLL_COST * polls) / len(jobs)


@pytest.mark.parametrize(("sigma", "share"), [(0.3, 0.6), (0.6, 0.75), (1.0, 0.9)])
def test_adaptive_polls_beat_backoff(sigma: float, share: float) -> None:
    estimator = with_adaptive(*spread_around(30.0, sigma, 20))
    jobs = spread_around(30.0, sigma, 500, seed=3)
    assert cost_of(estimator, jobs) < share * cost_of(None, jobs)


def test_follows_doubled_median() -> None:
    estimator = with_adaptive(*spread_around(30.0, 0.2, 200))
    before = first_poll(estimator)
    first_polls = [before]
    for each in spread_around(60.0, 0.2, 150):
        estimator.observe("m", each)
        first_polls.append(first_poll(estimator))
    assert 1.1 * before < first_polls[50] < first_polls[100] < first_polls[150]
    assert first_polls[150] == pytest.approx(2 * before, rel=0.15)


def test_late_job_is_polled_within_cap() -> None:
    curve = curve_of(with_adaptive(*spread_around(20.0, 0.05, 100)))
    for age in (30.0, 60.0, 99.0):
        assert adaptive_interval(curve, POLICY, 5, 0.5, age) <= POLICY.cap
    for age in (200.0, 1_000.0, 100_000.0):
        assert adaptive_interval(curve, POLICY, 5, 0.5, age) <= 0.1 * age


def test_long_job_is_not_polled_early() -> None:
    assert first_poll(with_adaptive(*spread_around(300.0, 0.2, 50))) > 150.0


def burst(estimator: DurationEstimator, jobs: list[float], *, counts_open: bool) -> None:
    """Polls simultaneous jobs, and records each result."""
    rng = random.Random(4)
    queue = [(rng.uniform(2.0, 3.0), 0, number) for number in range(len(jobs))]
    observed = [0.0] * len(jobs)
    while queue:
        age, n, number = heapq.heappop(queue)
        if age >= jobs[number]:
            estimator.observe("m", jobs[number], observed[number])
            continue
        if counts_open:
            estimator.observe_open("m", age, observed[number])
            observed[number] = age
        curve = estimator.curve_for("m")
        delay = (
            backoff_interval(POLICY, n + 1, rng.random(), age)
            if curve is None
            else adaptive_interval(curve, POLICY, 1, 0, age)
        )
        heapq.heappush(queue, (age + delay, n + 1, number))


def test_simultaneous_jobs_do_not_bias_estimate() -> None:
    estimator, biased = DurationEstimator(), DurationEstimator()
    jobs = spread_around(30.0, 0.3, 600)
    burst(estimator, jobs, counts_open=True)
    burst(biased, jobs, counts_open=False)
    quarter = sorted(jobs)[150]
    assert curve_of(estimator).settled_age == pytest.approx(quarter, rel=0.15)
    assert curve_of(biased).settled_age > 1.5 * quarter


# --- memory -----------------------------------------------------------------------------------------------------------


def test_drops_least_recent_groups() -> None:
    estimator = with_adaptive(10.0, group="recent")
    for number in range(2 * MAX_GROUPS):
        estimator.observe(f"m{number}", 10.0)
        estimator.observe_open("recent", 5.0)
    assert len(estimator.dump()["groups"]) == MAX_GROUPS
    assert estimator.curve_for("recent") is not None
    assert estimator.curve_for("m0") is None


def test_memory_is_constant() -> None:
    estimator = with_adaptive(*spread_around(30.0, 0.5, 100))
    curve_of(estimator)
    tracemalloc.start()
    try:
        for each in spread_around(30.0, 0.5, 2_000):
            estimator.observe_open("m", each / 2)
            estimator.observe("m", each, each / 2)
            curve_of(estimator)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 16_384


# --- dump and load ----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from(["a", "a?duration=5", "b", "", "?"]), st.floats(min_value=0.01, max_value=1e4)))
)
def test_dump_and_load_round_trip(observed: list[tuple[str, float]]) -> None:
    estimator = DurationEstimator()
    for group, seconds in observed:
        estimator.observe(group, seconds)
    dump = loaded(estimator.dump()).dump()
    again = loaded(json.loads(json.dumps(dump)))
    assert again.dump() == dump


def test_loaded_estimator_polls_like_dumped_one() -> None:
    estimator = with_adaptive(*spread_around(25.0, 0.3, 50))
    assert first_poll(loaded(estimator.dump())) == pytest.approx(first_poll(estimator), rel=0.1)


def test_load_replaces_observations() -> None:
    estimator = with_adaptive(10.0, group="old")
    estimator.load(with_adaptive(20.0, group="new").dump())
    assert estimator.curve_for("old") is None
    assert estimator.curve_for("new") is not None


def test_load_keeps_last_groups() -> None:
    history = with_adaptive(10.0).dump()["groups"]["m"]
    estimator = DurationEstimator()
    estimator.load({"version": 1, "groups": {f"m{number}": history for number in range(MAX_GROUPS + 1)}})
    assert list(estimator.dump()["groups"]) == [f"m{number}" for number in range(1, MAX_GROUPS + 1)]


def changed(**members: Any) -> dict[str, Any]:
    dump = copy.deepcopy(with_adaptive(10.0).dump())
    dump["groups"]["m"].update(members)
    return dump


@pytest.mark.parametrize(
    "dump",
    [
        None,
        [],
        "{}",
        {},
        {"groups": {}},
        {"version": 1},
        {"version": 1, "groups": []},
        {"version": 1, "groups": {7: {}}},
        {"version": 1, "groups": {"m": None}},
        {"version": 1, "groups": {"m": {}}},
        changed(ends=None),
        changed(ends=-1),
        changed(ends=1.5),
        changed(ends=True),
        changed(ends=10**400),
        changed(open=None),
        changed(open="12"),
        changed(open=[0.0] * (BIN_COUNT + 2)),
        changed(open=[-0.1]),
        changed(ended=[math.nan]),
        changed(ended=[math.inf]),
        changed(ended=["1"]),
        changed(ended=[True]),
        changed(ended={"0": 1.0}),
    ],
    ids=lambda dump: f"{dump!r:.40}",
)
def test_rejects_invalid_dump_without_change(dump: Any) -> None:
    estimator = with_adaptive(10.0)
    before = estimator.dump()
    with pytest.raises(ConfigurationError, match=r"result of dump"):
        estimator.load(dump)
    assert estimator.dump() == before


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_rejects_other_version_by_name(version: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"of version {version!r}, and this release reads version 1"):
        DurationEstimator().load({"version": version, "groups": {}})
