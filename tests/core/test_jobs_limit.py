"""The limit of running jobs: when it is known, confirmed and forgotten, and how long it is probed."""

from __future__ import annotations

from typing import Any

import pytest

from rivya_async._core.limits.jobs_limit import JobsLimit, PollCounts
from rivya_async._core.policies import RetryPolicy

RETRY = RetryPolicy(base=1, cap=8, max_attempts=3, max_elapsed=20)


def reject(limit: JobsLimit, at: float = 0.0, open_jobs: int = 2, **options: Any) -> bool:
    settings: dict[str, Any] = {"sent_at": at, "polls": PollCounts(), "retry_after": None, "u": 1.0, **options}
    sent_at = settings.pop("sent_at")
    return limit.on_rejected(at, sent_at, open_jobs=open_jobs, **settings)


def test_limit_is_the_number_of_open_jobs_at_a_rejection() -> None:
    limit = JobsLimit(RETRY)
    assert not limit.is_known
    assert not limit.is_reached(1_000_000)
    assert reject(limit)
    assert limit.is_known
    assert [limit.is_reached(running) for running in (1, 2, 3)] == [False, True, True]
    limit.forget()
    assert not limit.is_known


def test_accepted_purchase_raises_the_limit() -> None:
    limit = JobsLimit(RETRY)
    limit.on_accepted(0.0, 5, is_probe=False)
    assert not limit.is_known
    reject(limit)
    limit.on_accepted(1.0, 5, is_probe=False)
    assert not limit.is_reached(5)
    limit.on_accepted(1.0, 1, is_probe=False)
    assert not limit.is_reached(5)


def test_probe_forgets_an_unconfirmed_limit_and_raises_a_confirmed_one() -> None:
    limit = JobsLimit(RETRY)
    reject(limit)
    limit.on_accepted(1.0, 2, is_probe=True)
    assert not limit.is_known
    reject(limit, 2.0)
    reject(limit, 3.0, polls=PollCounts(answered=1))
    assert limit.is_confirmed
    limit.on_accepted(4.0, 2, is_probe=True)
    assert limit.next_probe == 4.0
    assert [limit.is_reached(running) for running in (2, 3)] == [False, True]


def test_purchases_sent_before_the_last_rejection_add_nothing() -> None:
    limit = JobsLimit(RETRY)
    assert reject(limit, 5.0)
    due = limit.next_probe
    assert not reject(limit, 6.0, sent_at=4.0, polls=PollCounts(answered=1))
    assert (limit.next_probe, limit.is_confirmed) == (due, False)


@pytest.mark.parametrize(
    ("retry_after", "u", "delay"),
    [(None, 1.0, 1.0), (None, 0.0, 0.5), (0.0, 1.0, 1.0), (5.0, 1.0, 5.0), (99.0, 1.0, 8.0)],
)
def test_probe_comes_after_a_delay_of_the_policy(retry_after: float | None, u: float, delay: float) -> None:
    limit = JobsLimit(RETRY)
    reject(limit, 10.0, retry_after=retry_after, u=u)
    assert limit.next_probe == 10.0 + delay


def test_delays_grow_with_the_rejections() -> None:
    limit = JobsLimit(RETRY)
    delays = []
    for at in range(5):
        reject(limit, at)
        delays.append(limit.next_probe - at)
    assert delays == [1, 2, 4, 8, 8]
    limit.on_probe(10.0, 1.0)
    assert limit.next_probe == 18.0


@pytest.mark.parametrize(
    ("polls", "expected"),
    [
        (PollCounts(), False),
        (PollCounts(rejected=1), True),
        (PollCounts(answered=1, rejected=1), False),
    ],
)
def test_polls_are_rejected_too(polls: PollCounts, expected: bool) -> None:
    limit = JobsLimit(RETRY)
    for at in range(3):
        assert not limit.rejects_polls_too(PollCounts(rejected=1))
        reject(limit, at)
    assert limit.rejects_polls_too(polls) is expected
    reject(limit, 4, polls=PollCounts(answered=1))
    assert not limit.rejects_polls_too(PollCounts(answered=0, rejected=1))


def exhausted(
    limit: JobsLimit,
    retry: RetryPolicy = RETRY,
    created_at: float = 0.0,
    earlier: int = 0,
    *,
    has_deadline: bool = False,
) -> bool:
    return limit.is_exhausted(retry, created_at, earlier, has_deadline=has_deadline)


def test_attempts_bound_a_purchase_without_open_jobs() -> None:
    limit = JobsLimit(RETRY)
    for at in range(3):
        assert not exhausted(limit)
        reject(limit, at, open_jobs=0)
    assert limit.rejections_without_jobs == 3
    assert exhausted(limit)
    assert not exhausted(limit, created_at=1.0, earlier=1)  # one of them came before
    assert not exhausted(limit, has_deadline=True)
    assert exhausted(limit, RetryPolicy(max_attempts=1), has_deadline=True)
    reject(limit, 4, open_jobs=1)
    assert limit.rejections_without_jobs == 0


def test_elapsed_time_bounds_a_purchase_without_open_jobs() -> None:
    limit = JobsLimit(RETRY)
    for at in (0.0, 10.0):
        reject(limit, at, open_jobs=0)
    assert not exhausted(limit, has_deadline=True)
    reject(limit, 17.0, open_jobs=0)  # the next probe is at 21
    assert exhausted(limit, has_deadline=True)
    assert not exhausted(limit, created_at=5.0, has_deadline=True)
