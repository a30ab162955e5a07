"""Replays by the clocks of the service, which may be wrong in every way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.http.replays import (
    MAX_CLOCK_DIFFERENCE,
    MAX_MEASURED_PURCHASE,
    MAX_REPLAY_AGE,
    MEASURED_PURCHASES,
    ReplayDetector,
)
from rivya_async._core.types.generations import Generation

NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
HOUR: Final = 3600.0


def job(created: float | None, updated: float | None) -> Generation:
    instants = [None if each is None else datetime.fromtimestamp(each, UTC) for each in (created, updated)]
    return Generation("task_1", "queued", "z-image", created_at=instants[0], updated_at=instants[1])


def dated(at: float) -> dict[str, str]:
    return {"Date": formatdate(at, usegmt=True)}


@pytest.mark.parametrize(
    ("created", "updated", "headers", "local", "expected"),
    [
        (NOW, NOW, {}, NOW, False),
        (NOW, NOW, dated(NOW + 1), NOW, False),
        (NOW, NOW, dated(NOW + 60), NOW + 60, True),
        (NOW, NOW, dated(NOW + 60), NOW, False),  # one of two clocks is wrong: no proof
        (NOW, NOW, dated(NOW + 2 * HOUR + 60), NOW + HOUR, True),
        (NOW, NOW, dated(NOW + 24 * HOUR + 60), NOW + 25 * HOUR, True),
        (NOW - 5 * HOUR, NOW - 5 * HOUR, dated(NOW + 1), NOW, False),  # another time zone
        (NOW, NOW + 30, {}, NOW - 1e7, True),  # by the service's clock alone
        (NOW, NOW + 1e9, {}, NOW, False),
        (0.0, 0.0, dated(NOW), NOW, False),  # a clock that was never set
        (NOW, NOW, {"Date": "yesterday"}, NOW + 60, False),
        (NOW + HOUR, NOW + HOUR, dated(NOW), NOW, False),
        (NOW, NOW, {"Idempotent-Replayed": "True"}, NOW, True),
        (NOW, NOW, {"Idempotent-Replayed": "false", **dated(NOW + 60)}, NOW + 60, False),
        (None, None, {"Idempotent-Replayed": "true"}, NOW, True),
        (None, None, dated(NOW), NOW, False),
        (NOW, None, dated(NOW + 60), NOW + 60, True),
        # The clocks of the service differ from each other, and the job is new.
        (NOW - 3, NOW - 3, dated(NOW), NOW, False),
        (NOW - 3, NOW, {}, NOW, False),
        (NOW - HOUR, NOW, dated(NOW), NOW, False),
        (NOW - HOUR - 3, NOW - HOUR - 3, dated(NOW), NOW, False),
        (NOW - HOUR + 3, NOW, dated(NOW), NOW, False),
    ],
)
def test_first_purchase_of_a_session(
    created: float | None, updated: float | None, headers: Mapping[str, str], local: float, expected: bool
) -> None:
    bought = job(created, updated)
    assert ReplayDetector().is_replay(bought, headers, elapsed=0.5, now=local) is expected
    if "Idempotent-Replayed" not in headers:
        assert not ReplayDetector().is_replay(bought, headers, elapsed=1e9, now=local)


@given(
    lag=st.floats(-1e6, 1e6),
    update_lag=st.floats(-1e6, 1e6),
    local=st.floats(-1e6, 1e6),
    age=st.floats(0, 1e6),
    elapsed=st.floats(0, 100),
)
def test_measured_clocks_may_differ_by_any_time(
    lag: float, update_lag: float, local: float, age: float, elapsed: float
) -> None:
    detector = ReplayDetector()
    for at in (NOW, NOW + 7.25):
        detector.learn(job(at - lag, at - lag + update_lag), dated(at), elapsed=0.5)
    at = NOW + 60 + age
    new = job(at - lag, at - lag + update_lag)
    assert not detector.is_replay(new, dated(at), elapsed=elapsed, now=at + local)
    old = job(at - lag - age, at - lag - age + update_lag)
    within_limit = age + max(lag, update_lag, 0) < MAX_REPLAY_AGE
    if age > elapsed + 5 and within_limit:
        assert detector.is_replay(old, dated(at), elapsed=elapsed, now=at + local)


def test_slow_purchase_and_record_without_times_measure_nothing() -> None:
    detector = ReplayDetector()
    detector.learn(job(NOW - 1000, NOW - 1000), dated(NOW), elapsed=MAX_MEASURED_PURCHASE + 1)
    detector.learn(job(None, None), dated(NOW), elapsed=0.5)
    detector.learn(job(NOW - 1000, None), {}, elapsed=0.5)
    age = MAX_CLOCK_DIFFERENCE + 5
    assert detector.is_replay(job(NOW - age, None), dated(NOW), elapsed=0.5, now=NOW)


def test_change_of_the_clocks_is_measured_later() -> None:
    detector = ReplayDetector()
    for _ in range(MEASURED_PURCHASES):
        detector.learn(job(NOW, NOW), dated(NOW), elapsed=0.5)
    new = job(NOW - 60, NOW - 60)
    assert detector.is_replay(new, dated(NOW), elapsed=0.5, now=NOW)
    for _ in range(MEASURED_PURCHASES):
        detector.learn(new, dated(NOW), elapsed=0.5)
    assert not detector.is_replay(new, dated(NOW), elapsed=0.5, now=NOW)
