"""`rivya demo`: a mixed batch, processed before the user's eyes, and a contact sheet of its results."""

from __future__ import annotations

import asyncio
import uuid
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError
from .._core.generation_request import GenerationRequest
from ..batch.report import load_template
from .contact_sheet import write_contact_sheet
from .jobs import Job
from .render import format_credits, format_duration, pluralize
from .run_jobs import ensure_dir, run_jobs
from .session_factory import embedded_session, service_session

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from ..session import RivyaSession
    from .jobs import JobList
    from .output import Output

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


async def run(arguments: Namespace, output: Output, job_list: JobList) -> int:
    """Purchases the batch, from the embedded sandbox unless --live, and writes the sheet, also of failed jobs."""
    load_template()  # without Jinja2 nothing is bought
    opened = _open_session(arguments, output)
    folder = ensure_dir(arguments.output)
    job_list.folder = arguments.output
    job_list.jobs = [
        Job(number, GenerationRequest(model, prompt, params=params, idempotency_key=str(uuid.uuid4())))
        for number, (model, prompt, params) in enumerate(DEMO_JOBS, 1)
    ]
    began = monotonic()
    async with opened as session:
        await _announce(session, job_list, output, is_live=arguments.live)
        code = await run_jobs(session, job_list, output, shows_files=False)
    took = monotonic() - began
    path = folder / PAGE
    await asyncio.to_thread(write_contact_sheet, job_list, path, took, is_live=arguments.live)
    _write_summary(job_list, output, path, took, is_live=arguments.live)
    return code


def _open_session(arguments: Namespace, output: Output) -> AbstractAsyncContextManager[RivyaSession]:
    if not arguments.live:
        seed = 0 if arguments.seed is None else arguments.seed  # a demo that is repeated replaces its own files
        return embedded_session(output, speed=arguments.speed, seed=seed)
    if arguments.speed is not None or arguments.seed is not None:
        raise ConfigurationError("--speed and --seed belong to the sandbox: leave them or --live out")
    return service_session(proxy=arguments.proxy)


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
