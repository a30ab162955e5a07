"""A token bucket never exceeds its rate over any interval, and loses no token that fits."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.limits.rate_controller import TIME_TOLERANCE, TokenBucket


def taken(bucket: TokenBucket, tokens: int, now: float = 0.0) -> list[float]:
    """Returns the times at which tokens are taken as soon as possible."""
    times = []
    for _ in range(tokens):
        now += bucket.delay(now)
        bucket.take(now)
        times.append(round(now, 6))
    return times


@pytest.mark.parametrize(
    ("per_second", "burst", "times"),
    [
        (1, 1, [0, 1, 2, 3]),
        (4, 1, [0, 0.25, 0.5, 0.75]),
        (1, 3, [0, 0, 0, 1, 2]),
        (0.1, 2, [0, 0, 10, 20]),
        (2, 2.5, [0, 0, 0.25, 0.75]),
    ],
)
def test_starts_full_and_refills_at_rate(per_second: float, burst: float, times: list[float]) -> None:
    assert taken(TokenBucket(per_second, burst), len(times)) == times


def test_tokens_above_burst_are_lost() -> None:
    bucket = TokenBucket(10.0, 2.0)
    assert taken(bucket, 3) == [0, 0, 0.1]
    assert taken(bucket, 3, now=100.0) == [100, 100, 100.1]


def test_refund_counts_at_once() -> None:
    bucket = TokenBucket(1.0, 5.0)
    taken(bucket, 6)
    bucket.refund(2.0)
    assert taken(bucket, 3, now=1.0) == [1, 1, 2]


def test_refund_to_full_bucket_is_lost() -> None:
    bucket = TokenBucket(1.0, 2.0)
    bucket.refund(1000.0)
    assert taken(bucket, 3) == [0, 0, 1]


@pytest.mark.parametrize("burst", [1.0, 5.0])
def test_drained_bucket_gives_one_token_at_instant(burst: float) -> None:
    bucket = TokenBucket(10.0, burst)
    bucket.drain_until(3.0)
    assert taken(bucket, 3) == [3, 3.1, 3.2]


def test_drain_never_advances_a_token() -> None:
    bucket = TokenBucket(1.0)
    taken(bucket, 1)
    bucket.drain_until(0.5)
    assert bucket.delay(0.0) == 1.0


def test_reconfigure_keeps_missing_tokens() -> None:
    bucket = TokenBucket(1.0, 2.0)
    taken(bucket, 2)
    bucket.reconfigure(10.0, 2.0, 0.0)
    assert taken(bucket, 2) == [0.1, 0.2]
    full = TokenBucket(1.0, 2.0)
    full.reconfigure(10.0, 3.0, 0.0)
    assert taken(full, 4) == [0, 0, 0, 0.1]


def test_rounding_errors_cause_no_delay() -> None:
    bucket = TokenBucket(1.0)
    bucket.take(0.0)
    assert bucket.delay(1.0 - TIME_TOLERANCE / 2) == 0.0
    assert bucket.delay(1.0 - TIME_TOLERANCE * 2) > 0.0


rates = st.floats(0.01, 1000.0)
bursts = st.floats(1.0, 50.0)
arrivals = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40)


@given(rates, bursts, arrivals)
def test_interval_gives_at_most_burst_plus_rate(per_second: float, burst: float, gaps: list[float]) -> None:
    bucket, now = TokenBucket(per_second, burst), 0.0
    times = []
    for gap in gaps:
        now += gap
        now += bucket.delay(now)
        bucket.take(now)
        times.append(now)
    for first, last in combinations_with_replacement(range(len(times)), 2):
        most = burst + per_second * (times[last] - times[first] + TIME_TOLERANCE)
        assert last - first + 1 <= most * (1 + 1e-9)


@given(rates, bursts, arrivals)
def test_delay_is_minimal(per_second: float, burst: float, gaps: list[float]) -> None:
    """Oracle: a bucket with a level."""
    bucket, now, level = TokenBucket(per_second, burst), 0.0, burst
    for gap in gaps:
        now, level = now + gap, min(burst, level + gap * per_second)
        wait = bucket.delay(now)
        assert wait == pytest.approx(max(0.0, (1.0 - level) / per_second), abs=1e-5)
        now, level = now + wait, min(burst, level + wait * per_second) - 1.0
        bucket.take(now)


@given(st.lists(st.tuples(rates, bursts, st.floats(0.0, 2.0)), min_size=1, max_size=30))
def test_reconfigured_bucket_owes_at_most_one_token(steps: list[tuple[float, float, float]]) -> None:
    bucket, now = TokenBucket(1.0), 0.0
    for per_second, burst, gap in steps:
        bucket.reconfigure(per_second, burst, now)
        now += gap
        wait = bucket.delay(now)
        assert 0.0 <= wait < float("inf")
        now += wait
        bucket.take(now)


def test_missing_tokens_are_limited_by_new_size() -> None:
    bucket = TokenBucket(1e6, 1e5)
    bucket.drain_until(10.0)
    bucket.reconfigure(20.0, 1.0, 10.0)
    assert bucket.delay(10.0) == pytest.approx(1.0 / 20.0)


def test_pause_keeps_length_when_rate_changes() -> None:
    bucket = TokenBucket(100.0, 5.0)
    bucket.drain_until(3.0)
    bucket.reconfigure(1.0, 5.0, 0.0)
    assert bucket.delay(0.0) == pytest.approx(3.0, abs=1.0)
