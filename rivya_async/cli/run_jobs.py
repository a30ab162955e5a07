"""Jobs of `generate`, `wait` and `demo`: processed side by side, with their progress and their results shown."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError
from .._engine.transfers.partial_file import file_exists_error
from .errors import exit_code_for
from .exit_codes import ExitCode
from .progress import job_progress
from .render import format_job, job_to_json, purchase_command, wait_command

if TYPE_CHECKING:
    from .._engine.transfers.partial_file import Exists
    from ..session import RivyaSession
    from .jobs import Job, JobList
    from .output import Output


async def run_jobs(
    session: RivyaSession, job_list: JobList, output: Output, *, timeout: float | None = None, shows_files: bool = True
) -> int:
    """Processes all jobs at once and returns the exit code of the first that went wrong. None ends another.

    JSON lines are written as jobs end, text when all have ended, also after a cancellation: purchased jobs go on.
    """
    target = None if job_list.target is None else download_target(job_list.target, len(job_list.jobs))
    if target is not None:
        await asyncio.to_thread(_prepare_target, target, job_list.exists)
    try:
        with job_progress(output, job_list.jobs) as update:

            def on_change(job: Job) -> None:
                update(job)
                if job.has_ended and output.is_json:
                    _write_job(job, output)

            async with asyncio.TaskGroup() as group:
                for job in job_list:
                    job.session, job.target, job.exists, job.on_change = session, target, job_list.exists, on_change
                    group.create_task(job.run(timeout))
    finally:
        if not output.is_json:
            for job in job_list:
                if job.has_ended and (shows_files or job.error is not None):
                    _write_job(job, output)
    return next((exit_code_for(job.error) for job in job_list if job.error is not None), ExitCode.OK)


def _write_job(job: Job, output: Output) -> None:
    if job.generation is not None and job.generation.is_terminal:
        output.write_result(job_to_json(job), text="\n".join(format_job(job)) if job.error is None else None)
    if job.error is not None:
        again = purchase_command(job)
        if job.task_id is not None:
            again = wait_command([job], job.target)
        output.write_error(job.error, again=again)


def download_target(output: str, count: int) -> str:
    """Returns the target for `RivyaSession.download`: a path with a suffix is a file, all others are folders.

    An existing folder, and a path that ends with a separator, are folders too. Raises `ConfigurationError` if one file
    is named for the files of several jobs.
    """
    path = Path(output).expanduser()
    if not path.suffix or path.is_dir() or output.endswith(("/", os.sep)):
        return f"{path}{os.sep}"
    if count > 1:
        raise ConfigurationError(
            f"{output} names one file, and there are {count} jobs: give a folder, such as {output}/"
        )
    return str(path)


def _prepare_target(target: str, exists: Exists | None) -> None:
    """Creates the folder. Raises before anything is bought if no file can be saved."""
    if target.endswith(os.sep):
        ensure_dir(target)
        return
    check_writable(Path(target).parent)
    if exists in {None, "error"} and os.path.lexists(target):
        raise file_exists_error(Path(target))


def ensure_dir(folder: str) -> Path:
    """Returns the folder, created if need be. Raises `OSError` before anything is bought if it takes no files."""
    path = Path(folder).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    check_writable(path)
    return path


def check_writable(folder: Path) -> None:
    """Raises `OSError` if no file can be written in this folder."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")
