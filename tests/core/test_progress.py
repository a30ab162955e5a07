from __future__ import annotations

from rivya_async._core.types.progress import Progress


def test_progress_counts_every_job_once() -> None:
    assert Progress(done=3, failed=1, open=6, credits=4, rate=2.0).total == 10


def test_time_left_needs_a_rate() -> None:
    assert Progress(3, 1, 6, 4, 2.0).seconds_left == 3.0
    assert Progress(0, 0, 6, 0, None).seconds_left is None
