"""What a record that was told adds to what is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rivya_async._core.polling.webhook_updates import SnapshotChange, compare_snapshots, is_newer
from rivya_async._core.types.generations import Generation, GenerationResult

DAY = datetime(2026, 5, 11, tzinfo=UTC)


def record(status: str, at: float | None = None, *, files: bool = True) -> Generation:
    result = GenerationResult("https://files.test/1.png") if status == "succeeded" and files else None
    updated_at = None if at is None else DAY + timedelta(seconds=at)
    return Generation("task_1", status, "z-image", updated_at=updated_at, result=result)


@pytest.mark.parametrize(
    ("told", "last", "news"),
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
def test_what_is_new(told: Generation, last: Generation | None, news: SnapshotChange) -> None:
    assert compare_snapshots(told, last) is news


def test_where_the_service_is_silent_nothing_is_newer() -> None:
    assert not is_newer(record("queued"), record("queued", 1))
    assert not is_newer(record("queued", 1), record("queued"))
    assert is_newer(record("queued", 2), record("queued", 1))
