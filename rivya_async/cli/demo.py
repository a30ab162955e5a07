"""`rivya demo`: a mixed batch, carried out before the user's eyes, and a contact sheet of what came of it."""

from __future__ import annotations

import asyncio
import uuid
from time import monotonic
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError
from ..batch.report import load_template
from .conduct import conduct, exit_code, made
from .contact_sheet import write_contact_sheet
from .demo_jobs import requests
from .jobs import Job
from .render import credits_text, plural, seconds
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from ..session import RivyaSession
    from .jobs import Ledger
    from .output import Output

PAGE: str = "index.html"


async def run(arguments: Namespace, output: Output, ledger: Ledger) -> int:
    """Buy the batch, from the embedded sandbox unless --live, and write the sheet, whatever failed."""
    load_template()  # without Jinja2 nothing is bought
    opened = _opened(arguments, output)
    folder = made(arguments.output)
    ledger.folder = arguments.output
    ledger.jobs = [Job(number, request) for number, request in enumerate(requests(lambda: str(uuid.uuid4())), 1)]
    began = monotonic()
    async with opened as session:
        await _announce(session, ledger, output, is_live=arguments.live)
        await conduct(session, ledger, output, tell_files=False)
    took = monotonic() - began
    where = await asyncio.to_thread(_write, folder, ledger, took, is_live=arguments.live)
    _sum_up(ledger, output, where, took, is_live=arguments.live)
    return exit_code(ledger)


def _opened(arguments: Namespace, output: Output) -> AbstractAsyncContextManager[RivyaSession]:
    if not arguments.live:
        return embedded(output, speed=arguments.speed, seed=arguments.seed)
    if arguments.speed is not None or arguments.seed is not None:
        raise ConfigurationError("--speed and --seed belong to the sandbox: leave them or --live out")
    return service()


async def _announce(session: RivyaSession, ledger: Ledger, output: Output, *, is_live: bool) -> None:
    if not is_live:
        output.note(f"{plural(len(ledger.jobs), 'job')} on the embedded sandbox: no account, nothing is bought.")
        return
    prices = {model.id: model.base_credits or 0 for model in await session.models.list()}
    least = sum(prices.get(job.model, 0) for job in ledger)
    output.note(f"{plural(len(ledger.jobs), 'job')} at the real service, from {credits_text(least)}.")


def _write(folder: Path, ledger: Ledger, took: float, *, is_live: bool) -> Path:
    where = folder / PAGE
    write_contact_sheet(ledger, where, took, is_live=is_live)
    return where


def _sum_up(ledger: Ledger, output: Output, where: Path, took: float, *, is_live: bool) -> None:
    good = sum(job.error is None for job in ledger)
    spent = sum(job.credits for job in ledger)
    output.result(
        {
            "folder": str(where.parent),
            "page": str(where),
            "jobs": len(ledger.jobs),
            "succeeded": good,
            "failed": len(ledger.jobs) - good,
            "credits": spent,
            "seconds": round(took, 3),
            "live": is_live,
        },
        text=(
            f"{good} of {plural(len(ledger.jobs), 'job')} in {seconds(took)}, {credits_text(spent)}"
            f"{'' if is_live else ' of play money'}.\nContact sheet: {where.resolve().as_uri()}"
        ),
    )
