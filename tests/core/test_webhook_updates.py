"""New records from webhooks, and the polls that deliveries replace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.polling.webhook_updates import (
    MAX_DELIVERY_DELAY,
    MAX_PENDING_DELIVERIES,
    MAX_SKIPPED_POLLS,
    DeliveryRateEstimator,
    SnapshotChange,
    compare_snapshots,
    delivery_delay,
)
from rivya_async._core.types.generations import Generation, GenerationResult

DAY = datetime(2026, 5, 11, tzinfo=UTC)


def one_in(estimator: DeliveryRateEstimator, now: float = 0.0) -> int:
    """Returns the number of due polls per sent poll."""
    return next(n for n in range(1, 100) if not estimator.may_skip_poll(n - 1, now))


def reliable_estimator() -> DeliveryRateEstimator:
    estimator = DeliveryRateEstimator()
    for _ in range(50):
        estimator.on_delivery()
    return estimator


def test_late_job_skips_fewer_polls() -> None:
    estimator = reliable_estimator()
    skipped_polls = [estimator.may_skip_poll(n, 0.0, is_late=True) for n in range(5)]
    assert skipped_polls == [True, True, True, False, False]
    assert not DeliveryRateEstimator().may_skip_poll(0, 0.0, is_late=True)


def test_no_deliveries_skip_no_polls() -> None:
    estimator = DeliveryRateEstimator()
    assert not estimator.is_active
    assert one_in(estimator) == 1


def test_higher_delivery_rate_skips_more_polls() -> None:
    estimator = DeliveryRateEstimator()
    rates = []
    for _ in range(60):
        estimator.on_delivery()
        rates.append(one_in(estimator))
    assert estimator.is_active
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == (1, 10)
    assert rates.index(2) < 14
    assert rates.index(10) < 45


def test_single_lost_delivery_has_little_effect() -> None:
    estimator = reliable_estimator()
    rates = []
    for n in range(8):
        estimator.on_end_polled(f"task_{n}", now=float(n))
        rates.append(one_in(estimator, now=n + 2 * MAX_DELIVERY_DELAY))
    assert rates[0] == 3
    assert rates[-1] == 1


def test_missing_delivery_counts_after_timeout() -> None:
    estimator = reliable_estimator()
    estimator.on_end_polled("task_1", now=100.0)
    assert one_in(estimator, now=100.0 + MAX_DELIVERY_DELAY) == 10
    assert one_in(estimator, now=100.1 + MAX_DELIVERY_DELAY) < 10


def test_overdue_delivery_is_missed_at_once() -> None:
    estimator = reliable_estimator()
    estimator.on_end_polled("task_1", now=100.0, late_by=MAX_DELIVERY_DELAY)
    assert one_in(estimator, now=100.0) == 10
    estimator.on_end_polled("task_2", now=100.0, late_by=MAX_DELIVERY_DELAY + 0.1)
    assert one_in(estimator, now=100.0) == 3
    estimator.on_late_delivery("task_2", now=101.0)
    assert one_in(estimator, now=101.0) == 3


def test_timely_delivery_after_poll_is_not_missed() -> None:
    estimator = reliable_estimator()
    estimator.on_end_polled("task_1", now=100.0)
    estimator.on_late_delivery("task_1", now=101.0)
    estimator.on_late_delivery("task_2", now=101.0)  # bought by another process
    assert one_in(estimator, now=200.0) == 10


def test_late_delivery_after_poll_is_missed() -> None:
    estimator = reliable_estimator()
    estimator.on_end_polled("task_1", now=100.0)
    estimator.on_late_delivery("task_1", now=130.0)
    assert one_in(estimator, now=130.0) == 3


def test_late_deliveries_skip_no_polls() -> None:
    estimator = DeliveryRateEstimator()
    for _ in range(50):
        estimator.on_delivery(late_by=MAX_DELIVERY_DELAY + 1.0)
    assert one_in(estimator) == 1


def test_counts_deliveries_after_polled_ends() -> None:
    estimator = DeliveryRateEstimator()
    for n in range(50):
        estimator.on_end_polled(f"task_{n}", now=float(n))
        estimator.on_late_delivery(f"task_{n}", now=n + 0.5)
    assert one_in(estimator, now=100.0) == 10


def test_half_lost_deliveries_skip_no_polls() -> None:
    estimator = DeliveryRateEstimator()
    rates = []
    for n in range(100):
        estimator.on_delivery()
        estimator.on_end_polled(f"task_{n}", now=10.0 * n)
        rates.append(one_in(estimator, now=10.0 * n + 6.0))
    assert max(rates) == 1


def test_expected_deliveries_skip_few_polls() -> None:
    estimator = DeliveryRateEstimator()
    estimator.expect_deliveries()
    assert estimator.is_active
    assert one_in(estimator) == 3
    for n in range(8):
        estimator.on_end_polled(f"task_{n}", now=0.0)
    assert one_in(estimator, now=10.0) == 1
    estimator.expect_deliveries()
    assert one_in(estimator, now=10.0) == 1


def test_pending_deliveries_are_limited() -> None:
    estimator = reliable_estimator()
    for n in range(3 * MAX_PENDING_DELIVERIES):
        estimator.on_end_polled(f"task_{n}", now=0.0)
    assert len(vars(estimator)["_pending"]) == MAX_PENDING_DELIVERIES


@given(st.lists(st.tuples(st.sampled_from("cfet"), st.floats(0.0, 20.0)), max_size=80), st.integers(0, 20))
def test_skips_at_most_nine_consecutive_polls(steps: list[tuple[str, float]], skipped: int) -> None:
    estimator, now = DeliveryRateEstimator(), 0.0
    for n, (kind, pause) in enumerate(steps):
        now += pause
        match kind:
            case "c":
                estimator.on_delivery(pause)
            case "f":
                estimator.on_end_polled(f"task_{n}", now)
            case "e":
                estimator.expect_deliveries()
            case _:
                estimator.on_late_delivery(f"task_{n - 1}", now)
    assert 1 <= one_in(estimator, now) <= 1 + MAX_SKIPPED_POLLS
    assert estimator.may_skip_poll(skipped, now) == (skipped + 1 < one_in(estimator, now))


@pytest.mark.parametrize(("seconds", "age", "late"), [(10.0, 10.5, 0.5), (10.0, 9.5, -0.5), (None, 9.0, 0.0)])
def test_delivery_delay_uses_two_clocks(seconds: float | None, age: float, late: float) -> None:
    updated_at = None if seconds is None else DAY + timedelta(seconds=seconds)
    end = Generation("task_1", "succeeded", "z-image", created_at=DAY, updated_at=updated_at)
    assert delivery_delay(end, age) == late


def test_late_age_has_five_percent_open_jobs() -> None:
    durations = DurationEstimator()
    for n in range(200):
        durations.observe("z-image", 10.0 + n % 20)
    curve = durations.curve_for("z-image")
    assert curve is not None
    assert curve.settled_age < 20.0
    assert 26.0 < curve.late_age < 40.0


def record(status: str, at: float | None = None, *, files: bool = True) -> Generation:
    result = GenerationResult("https://files.test/1.png") if status == "succeeded" and files else None
    updated_at = None if at is None else DAY + timedelta(seconds=at)
    return Generation("task_1", status, "z-image", updated_at=updated_at, result=result)


@pytest.mark.parametrize(
    ("other", "last", "change"),
    [
        (record("succeeded", 9), None, SnapshotChange.END),
        (record("failed", 9), None, SnapshotChange.END),
        (record("succeeded", 9), record("processing", 5), SnapshotChange.END),
        (record("succeeded", 9), record("processing", 9), SnapshotChange.END),
        (record("succeeded"), record("processing", 5), SnapshotChange.END),
        (record("succeeded", 9), record("processing"), SnapshotChange.END),
        (record("succeeded", 9), record("processing", 10), SnapshotChange.INCONSISTENT),
        (record("failed", 9), record("processing", 10), SnapshotChange.INCONSISTENT),
        (record("succeeded", 9, files=False), None, SnapshotChange.INCONSISTENT),
        (record("succeeded", 9, files=False), record("queued", 1), SnapshotChange.INCONSISTENT),
        (record("succeeded", 9), record("succeeded", 9), SnapshotChange.NONE),
        (record("failed", 10), record("succeeded", 9), SnapshotChange.NONE),
        (record("processing", 10), record("succeeded", 9), SnapshotChange.NONE),
        (record("processing", 5), record("queued", 1), SnapshotChange.UPDATE),
        (record("on_hold", 5), record("queued", 1), SnapshotChange.UPDATE),
        (record("processing", 5), None, SnapshotChange.UPDATE),
        (record("processing", 5), record("processing", 5), SnapshotChange.NONE),
        (record("queued", 1), record("processing", 5), SnapshotChange.NONE),
        (record("processing"), record("queued", 1), SnapshotChange.NONE),
    ],
)
def test_compare_snapshots(other: Generation, last: Generation | None, change: SnapshotChange) -> None:
    assert compare_snapshots(other, last) is change


def test_missing_timestamp_is_not_newer() -> None:
    assert not record("queued").is_newer_than(record("queued", 1))
    assert not record("queued", 1).is_newer_than(record("queued"))
    assert record("queued", 2).is_newer_than(record("queued", 1))
