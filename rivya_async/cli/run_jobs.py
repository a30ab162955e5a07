"""Jobs of `generate`, `wait` and `demo`: processed side by side, with their progress and their results shown."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from .._core.errors import ConfigurationError, WaitError
from .._engine.environment import Environment
from .._engine.shutdown import ShutdownSignal
from .._jobs.runner import JobContext, JobPolicy, JobRunner
from .._jobs.transitions import JobState
from .errors import exit_code_for
from .exit_codes import ExitCode
from .progress import job_progress
from .render import format_job, job_to_json, purchase_command, wait_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Generation
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
    folder = None if job_list.folder is None else ensure_dir(job_list.folder)
    try:
        with job_progress(output, job_list.jobs) as update:

            def on_change(job: Job) -> None:
                update(job)
                if job.has_ended and output.is_json:
                    _write_job(job, output)

            async with asyncio.TaskGroup() as group:
                for job in job_list:
                    job.folder = folder
                    group.create_task(_run_job(session, job, job_list.exists, timeout, on_change))
    finally:
        if not output.is_json:
            for job in job_list:
                if job.has_ended and (shows_files or job.error is not None):
                    _write_job(job, output)
    return next((exit_code_for(job.error) for job in job_list if job.error is not None), ExitCode.OK)


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


async def _run_job(
    session: RivyaSession, job: Job, exists: Exists | None, timeout: float | None, on_change: Callable[[Job], None]
) -> None:
    store, ambient = MemoryJobStore(session, job, exists, on_change), Environment()
    options: dict[str, Any] = {"on_update": store.update} | ({} if timeout is None else {"timeout": timeout})
    policy = JobPolicy(wait_options=options)
    # Each job has a context of its own: the error of one halts no other.
    context = JobContext(
        session=session, stop=ShutdownSignal(), wall=ambient.wall_time, uniform=ambient.uniform, policy=policy
    )
    job.began = monotonic()
    await JobRunner(context, store).run()
    job.ended = monotonic()
    on_change(job)


def _write_job(job: Job, output: Output) -> None:
    if job.generation is not None and job.generation.is_terminal:
        output.write_result(job_to_json(job), text="\n".join(format_job(job)) if job.error is None else None)
    if job.error is not None:
        again = purchase_command(job)
        if job.task_id is not None:
            again = wait_command([job], None if job.folder is None else str(job.folder))
        output.write_error(job.error, again=again)


class MemoryJobStore:
    """A job of this command as its own store: the user repeats the open jobs."""

    def __init__(
        self, session: RivyaSession, job: Job, exists: Exists | None, on_change: Callable[[Job], None]
    ) -> None:
        self._session = session
        self._exists: Exists = exists or "keep"
        self._on_change = on_change
        self.record = job

    @property
    def generation(self) -> Generation | None:
        """The latest response of the service."""
        return self.record.generation

    def continues(self) -> bool:
        """Returns True where the files of a succeeded job are wanted."""
        return self.record.state is JobState.SUCCEEDED and self.record.folder is not None

    async def load_request(self) -> GenerationRequest:
        """Returns the request of the job. The session uploads its local files."""
        if self.record.request is None:
            raise ConfigurationError("this job was purchased by another process: there is nothing to buy")
        return self.record.request

    async def advance(self, state: JobState, error: Exception | None = None, **changes: Any) -> None:
        """Changes the job and shows it."""
        for name, value in {**changes, "state": state, "error": error}.items():
            setattr(self.record, name, value)
        self._on_change(self.record)

    def update(self, generation: Generation) -> None:
        """Shows a response of the service; `advance` shows the last one."""
        if not generation.is_terminal:
            self.record.generation = generation
            self._on_change(self.record)

    async def record_error(self, error: Exception, *, will_retry: bool) -> None:  # noqa: ARG002 - nothing is tried again
        """Keeps the error for the end of the command."""
        self.record.error = error
        if isinstance(error, WaitError):
            self.record.generation = error.last or self.record.generation

    async def save_files(self, generation: Generation) -> Sequence[Path]:
        """Saves the files under the name of the task: a file of that name is of an earlier run."""
        folder = f"{self.record.folder or '.'}{os.sep}"
        return await self._session.download(generation, folder, exists=self._exists)
