"""Progress of a batch on stderr: a live bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from ..batch import JobState
from ..batch.batch import ProgressMeter
from .progress import live_display, render_bar
from .render import format_credits, format_duration

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator

    from rich.console import ConsoleRenderable

    from .._core.types.progress import Progress
    from ..batch import Batch
    from .output import Output

LINE_INTERVAL: Final = 10.0
"""Seconds between two lines."""

STATES: Final = (
    JobState.DOWNLOADED,
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.DEAD,
    JobState.SUBMITTED,
    JobState.INTENT,
    JobState.PLANNED,
)
"""Order of the counts, the final states first."""


def format_counts(counts: Counter[JobState]) -> str:
    """Returns the counts as `280 downloaded, 3 failed, 17 submitted`."""
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state]) or "no rows"


@asynccontextmanager
async def batch_progress(output: Output, batch: Batch, *, downloads: bool) -> AsyncIterator[None]:
    """Shows the progress while the context is open; nothing in JSON mode."""
    meter = ProgressMeter(batch, downloads=downloads)
    if output.shows_progress:
        with live_display(lambda _: _render(meter.measure(), batch)):
            yield
        return
    lines = asyncio.create_task(_write_lines(output, meter, batch))
    try:
        yield
    finally:
        lines.cancel()
        await asyncio.wait([lines])


async def _write_lines(output: Output, meter: ProgressMeter, batch: Batch) -> None:
    while True:
        await asyncio.sleep(LINE_INTERVAL)
        output.write_note(format_progress(meter.measure(), batch.counts))


def format_progress(progress: Progress, counts: Counter[JobState]) -> str:
    """Returns counts, credits, rate and time left in one line. `open` rows include those that are not saved yet."""
    rate = progress.rate
    left = f"  ·  {rate:.1f}/s, {format_duration(progress.seconds_left)} left" if rate and progress.open else ""
    numbers = f"{progress.done:,} done, {progress.failed:,} failed, {progress.open:,} open"
    return f"{numbers}  ·  {format_counts(counts)}  ·  {format_credits(progress.credits)}{left}"


def _render(progress: Progress, batch: Batch) -> ConsoleRenderable:
    from rich.console import Group
    from rich.text import Text

    bar = render_bar(progress.done + progress.failed, progress.total)
    return Group(bar, Text(format_progress(progress, batch.counts), style="dim"))
