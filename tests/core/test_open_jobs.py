"""Open jobs: additions, ends, their bound and the warning at the end of a session."""

from __future__ import annotations

import pytest

from rivya_async._core import open_jobs
from rivya_async._core.open_jobs import OpenJob, OpenJobs
from rivya_async._core.types.generations import Generation


def opened(count: int) -> OpenJobs:
    jobs = OpenJobs()
    for n in range(count):
        jobs.add(OpenJob(f"task_{n}", f"key-{n}", "z-image", None, float(n)))
    return jobs


def test_removes_a_job_at_its_end() -> None:
    jobs = opened(2)
    jobs.on_generation(Generation("task_0", "processing", "z-image"))
    jobs.on_generation(Generation("task_7", "succeeded", "z-image"))
    assert [job.task_id for job in jobs] == ["task_0", "task_1"]
    jobs.on_generation(Generation("task_0", "failed", "z-image"))
    assert ([job.task_id for job in jobs], len(jobs)) == (["task_1"], 1)


def test_reports_each_removed_job() -> None:
    jobs, removed = opened(2), list[str]()
    jobs.on_removed = removed.append
    assert "task_0" in jobs
    jobs.on_generation(Generation("task_0", "failed", "z-image"))
    assert "task_0" not in jobs
    assert removed == ["task_0"]


def test_drops_the_oldest_job_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_jobs, "MAX_OPEN_JOBS", 3)
    assert [job.task_id for job in opened(5)] == ["task_2", "task_3", "task_4"]


def test_drops_the_oldest_ended_job_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_jobs, "MAX_OPEN_JOBS", 3)
    jobs = OpenJobs()
    for n in range(5):
        jobs.add_ended(OpenJob(f"task_{n}", f"key-{n}", "z-image", None, float(n)))
    assert [job.task_id for job in jobs.undelivered] == ["task_2", "task_3", "task_4"]


def test_warns_once_with_task_ids() -> None:
    assert OpenJobs().closing_warning() is None
    assert "1 open job: task_0. " in str(opened(1).closing_warning())
    jobs = opened(21)
    warning = str(jobs.closing_warning())
    assert "21 open jobs: task_0, task_1, " in warning
    assert "task_19 and 1 more. " in warning
    assert jobs.closing_warning() is None


def test_keeps_an_ended_job_until_its_caller_receives_it() -> None:
    jobs = opened(3)
    job = jobs.get("task_1")
    assert job is not None
    ended = Generation("task_1", "succeeded", "z-image")
    jobs.on_generation(ended)
    jobs.add_ended(job)
    assert [each.task_id for each in jobs] == ["task_0", "task_2"]
    assert [each.task_id for each in jobs.undelivered] == ["task_1", "task_0", "task_2"]
    jobs.deliver("task_1")
    assert [each.task_id for each in jobs.undelivered] == ["task_0", "task_2"]
    jobs.add_ended(job)
    jobs.on_generation(ended)  # another call returns it
    assert [each.task_id for each in jobs.undelivered] == ["task_0", "task_2"]
    assert jobs.get("task_1") is None


def test_job_converts_to_json() -> None:
    assert OpenJob("task_1", "key-1", "z-image", None, 1.5).to_dict() == {
        "task_id": "task_1",
        "idempotency_key": "key-1",
        "model": "z-image",
        "client_request_id": None,
        "submitted_at": 1.5,
    }
