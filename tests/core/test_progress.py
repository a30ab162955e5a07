from __future__ import annotations

from rivya_async._core.types.generations import Generation
from rivya_async._core.types.progress import Progress, ProgressCounter


def test_progress_counts_every_job_once() -> None:
    assert Progress(done=3, failed=1, open=6, credits=4, rate=2.0).total == 10


def test_time_left_needs_a_rate() -> None:
    assert Progress(3, 1, 6, 4, 2.0).seconds_left == 3.0
    assert Progress(0, 0, 6, 0, None).seconds_left is None


def test_counter_counts_ends_credits_and_rate() -> None:
    counter = ProgressCounter(3, now=10.0)
    assert counter.measure(10.0) == Progress(0, 0, 3, 0, None)
    counter.add(Generation("task_1", "succeeded", final_credits=2), succeeded=True)
    assert counter.measure(10.0) == Progress(1, 0, 2, 2, None)
    counter.add(None, succeeded=False)
    assert counter.measure(14.0) == Progress(1, 1, 1, 2, 0.5)


def test_counter_without_total_counts_started_jobs_as_open() -> None:
    counter = ProgressCounter(None, now=0.0)
    assert counter.measure(1.0).open == 0
    counter.started = 2
    assert counter.measure(1.0).open == 2
    for _ in range(3):
        counter.add(None, succeeded=True)
    assert counter.measure(1.0).open == 0
