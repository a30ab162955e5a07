"""`rivya demo`: a mixed batch, processed before the user's eyes, and a contact sheet of its results."""

from __future__ import annotations

import asyncio
import os
import uuid
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import click

from ..._core.errors import ConfigurationError, GenerationFailedError
from ..._core.generation_request import GenerationRequest
from ..._engine.environment import Environment
from ..._jobs.transitions import error_fields
from ...batch import JobState, Row, RowRecord, RunRecord, SavedFile
from ...batch.report import load_template, write_contact_sheet
from ..command import command
from ..errors import error_message
from ..jobs import Job
from ..options import FOLDER
from ..render import format_credits, format_duration, pluralize
from ..run_jobs import ensure_dir, run_jobs
from ..session_factory import embedded_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ...session import RivyaSession
    from ..jobs import JobList
    from ..output import Output
    from ..run import CommandContext

PAGE: Final = "index.html"
"""Name of the contact sheet."""

DEMO_JOBS: Final[Sequence[tuple[str, str, dict[str, Any]]]] = (
    ("z-image", "A red kite over a calm sea at dawn", {"aspect_ratio": "4:3"}),
    ("seedream-4-5", "A city of glass towers in the last evening light", {"aspectRatio": "9:16", "quality": "high"}),
    ("grok-imagine-video", "Paper lanterns rise over a village", {"aspect_ratio": "1:1", "duration": 6}),
    ("veo3-1-lite", "Waves roll onto a black beach, slow and wide", {"aspectRatio": "16:9"}),
    ("nano-banana-pro", "Northern lights above a frozen lake", {"aspect_ratio": "4:5", "output_format": "jpg"}),
    (
        "elevenlabs-turbo-2-5",
        "Good morning. The ferry leaves at nine; the sea is calm, and the whales are back.",
        {"voice": "TX3LPaxmHKxFdv7VOQHJ", "speed": 0.95},
    ),
    (
        "flux-2-pro",
        "Terraced tea hills in morning fog, seen from a balloon",
        {"aspectRatio": "16:9", "resolution": "2K"},
    ),
    ("gpt-image-2", "A lighthouse keeper's window on a stormy night", {"aspect_ratio": "3:4"}),
    ("runway", "A night train crosses a viaduct in the rain", {"aspectRatio": "16:9", "duration": "5"}),
    ("elevenlabs-sound-effect-v2", "Rain on a tin roof, thunder far away", {"duration_seconds": 6}),
    (
        "ideogram-v3",
        "Poster of a desert observatory under the Milky Way",
        {"image_size": "square_hd", "style": "DESIGN"},
    ),
)
"""Model, prompt and params of each job: pictures, films and sounds of many models."""


@command("demo")
@click.option("-o", "--output", "folder", metavar="DIR", type=FOLDER, default="rivya-demo", help="Folder.")
@click.option("--live", is_flag=True, help="Buy at the real service, with RIVYA_API_KEY.")
@click.option("--speed", metavar="X", type=float, help="Speed of the sandbox's jobs as a multiple of real time.")
@click.option("--seed", metavar="N", type=int, help="Seed of the sandbox's randomness.")
async def demo(context: CommandContext, *, folder: str, live: bool, speed: float | None, seed: int | None) -> int:
    """Make a mixed batch of images, videos and audio, and a contact sheet.

    Runs against an embedded sandbox, in seconds. --live buys the batch at the real service instead.
    --json: a line for each job as it ends, then one with the folder, the page and the cost.

    Examples:
      rivya demo
      rivya demo -o out --speed 60
    """
    if live and context.is_sandbox:
        raise ConfigurationError("--live buys at the real service: leave out --sandbox, or --live")
    if live and (speed is not None or seed is not None):
        raise ConfigurationError("--speed and --seed belong to the sandbox: leave them or --live out")
    load_template()  # without Jinja2 nothing is bought
    output, job_list = context.output, context.jobs
    # A demo that is repeated replaces its own files.
    opened = context.open_session() if live else embedded_session(output, speed=speed, seed=seed or 0)
    page, job_list.target = ensure_dir(folder) / PAGE, f"{folder}{os.sep}"
    job_list.jobs = [
        Job(number, GenerationRequest(model, prompt, params=params, idempotency_key=str(uuid.uuid4())))
        for number, (model, prompt, params) in enumerate(DEMO_JOBS, 1)
    ]
    began = monotonic()
    async with opened as session:
        await _announce(session, job_list, output, is_live=live)
        code = await run_jobs(session, job_list, output, shows_files=False)
    took = monotonic() - began
    await asyncio.to_thread(_write_page, job_list, page, took, is_live=live)
    _write_summary(job_list, output, page, took, is_live=live)
    return code


async def _announce(session: RivyaSession, job_list: JobList, output: Output, *, is_live: bool) -> None:
    jobs = pluralize(len(job_list.jobs), "job")
    if not is_live:
        return output.write_note(f"{jobs} on the embedded sandbox: no account, nothing is bought.")
    prices = {model.id: model.base_credits or 0 for model in await session.models.list()}
    least = sum(prices.get(job.model, 0) for job in job_list)
    return output.write_note(f"{jobs} at the real service, from {format_credits(least)}.")


def _write_summary(job_list: JobList, output: Output, path: Path, took: float, *, is_live: bool) -> None:
    jobs = job_list.jobs
    good = sum(job.error is None for job in jobs)
    spent = sum(job.credits for job in jobs if not job.replayed)
    output.write_result(
        {
            "folder": str(path.parent),
            "page": str(path),
            "jobs": len(jobs),
            "succeeded": good,
            "failed": len(jobs) - good,
            "credits": spent,
            "seconds": round(took, 3),
            "live": is_live,
        },
        text=(
            f"{good} of {pluralize(len(jobs), 'job')} in {format_duration(took)}, {format_credits(spent)}"
            f"{'' if is_live else ' of play money'}.\nContact sheet: {path.resolve().as_uri()}"
        ),
    )


def _write_page(jobs: Iterable[Job], target: Path, took: float, *, is_live: bool) -> None:
    """Writes the report of a batch with one row per job. The jobs ended just now, after `took` seconds. Blocks."""
    now = Environment().wall_time()
    # Jobs have monotonic times, a page has wall times.
    records = [_record(job, now - monotonic()) for job in jobs]
    run = RunRecord(number=1, started_at=now - took, ended_at=now)
    write_contact_sheet(records, run, target, made_by="The Rivya API" if is_live else "The Rivya sandbox")


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
