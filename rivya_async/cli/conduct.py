"""What `generate`, `wait` and `demo` share: carry jobs out before the user's eyes, tell each end, sum up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import exit_code_for
from .exit_codes import ExitCode
from .jobs import Job, Plan, perform_all
from .progress import job_progress
from .render import format_job, job_to_json, purchase_command

if TYPE_CHECKING:
    from ..session import RivyaSession
    from .jobs import Ledger
    from .output import Output


async def conduct(
    session: RivyaSession, ledger: Ledger, output: Output, *, timeout: float | None = None, tell_files: bool = True
) -> None:
    """Carry out all jobs of the ledger. JSON lines come as jobs end; text comes when all have, also when cut short."""
    folder = None if ledger.folder is None else made(ledger.folder)
    plan = Plan(timeout=timeout, folder=folder)
    try:
        with job_progress(output, ledger.jobs) as board:

            def changed(job: Job) -> None:
                board(job)
                if job.has_ended and output.is_json:
                    _tell(job, output)

            await perform_all(session, ledger, plan, changed)
    finally:
        if not output.is_json:
            for job in ledger:
                if job.has_ended and (tell_files or job.error is not None):
                    _tell(job, output)


def made(folder: str) -> Path:
    """The folder, made if need be: before anything is bought, for it may not be possible."""
    path = Path(folder).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    return path


def exit_code(ledger: Ledger) -> int:
    """The code of the first job that went wrong."""
    errors = (job.error for job in ledger if job.error is not None)
    return next((exit_code_for(error) for error in errors), ExitCode.OK)


def _tell(job: Job, output: Output) -> None:
    if job.record is not None and job.record.is_terminal:
        output.write_result(job_to_json(job), text="\n".join(format_job(job)) if job.error is None else None)
    if job.error is not None:
        output.write_error(job.error, again=purchase_command(job))
