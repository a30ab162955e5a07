"""The contact sheet of a demo: the report of a batch with one row per job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core.errors import GenerationFailedError
from .._engine.environment import Environment
from .._jobs.transitions import error_fields
from ..batch import JobState, Row, RowRecord, RunRecord, SavedFile
from ..batch.report import write_contact_sheet as write_page
from .errors import error_message

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .jobs import Job


def write_contact_sheet(jobs: Iterable[Job], target: Path, took: float, *, is_live: bool) -> None:
    """Writes the page for jobs that ended just now, after `took` seconds. Blocks."""
    now = Environment().wall_time()
    # Jobs have monotonic times, a page has wall times.
    records = [_record(job, now - time.monotonic()) for job in jobs]
    run = RunRecord(number=1, started_at=now - took, ended_at=now)
    write_page(records, run, target, made_by="The Rivya API" if is_live else "The Rivya sandbox")


def _record(job: Job, clock_offset: float) -> RowRecord:
    reason = error_fields(job.error)
    duration = job.generation.duration if job.generation else None
    params = job.request.params if job.request else {}
    return RowRecord(
        row=Row(number=job.number, line=job.number, model=job.model, prompt=job.prompt, params=params),
        batch_id="demo",
        state=_state(job),
        task_id=job.task_id,
        final_credits=job.credits,
        duration=job.seconds if duration is None else duration.total_seconds(),
        submitted_at=None if job.began is None else job.began + clock_offset,
        ended_at=None if job.ended is None else job.ended + clock_offset,
        files=tuple(SavedFile(path.name, path.stat().st_size, "") for path in job.files),
        error_code=reason["error_code"],
        error_type=reason["error_type"],
        error=None if job.error is None else error_message(job.error),
    )


def _state(job: Job) -> JobState:
    if job.error is None:
        return JobState.DOWNLOADED
    return JobState.FAILED if isinstance(job.error, GenerationFailedError) else JobState.DEAD
