"""Progress of a batch on stderr: a live bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from .._jobs.transitions import is_open
from ..batch import JobState
from .progress import live_display, render_bar
from .render import format_credits, format_duration

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator

    from rich.console import ConsoleRenderable

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
async def batch_progress(output: Output, batch: Batch) -> AsyncIterator[None]:
    """Shows the progress while the context is open; nothing in JSON mode."""
    throughput = Throughput(batch)
    if output.shows_progress:
        with live_display(lambda _: throughput.render()):
            yield
        return
    lines = asyncio.create_task(_write_lines(output, throughput))
    try:
        yield
    finally:
        lines.cancel()
        await asyncio.wait([lines])


async def _write_lines(output: Output, throughput: Throughput) -> None:
    while True:
        await asyncio.sleep(LINE_INTERVAL)
        output.write_note(throughput.format())


class Throughput:
    """Settled rows of a batch and their rate since this object exists."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._settled_before = self.settled

    @property
    def settled(self) -> int:
        """Rows in a final state."""
        return sum(count for state, count in self._batch.counts.items() if not is_open(state, downloads=False))

    def format(self) -> str:
        """Returns counts, credits, rate and time left in one line."""
        counts = self._batch.counts
        elapsed = self._loop.time() - self._started_at
        rate = (self.settled - self._settled_before) / elapsed if elapsed > 1 else 0.0
        left = f"  ·  {rate:.1f}/s, {format_duration((counts.total() - self.settled) / rate)} left" if rate else ""
        return f"{format_counts(counts)}  ·  {format_credits(self._batch.credits)}{left}"

    def render(self) -> ConsoleRenderable:
        """Returns the bar and the line."""
        from rich.console import Group
        from rich.text import Text

        return Group(render_bar(self.settled, self._batch.counts.total()), Text(self.format(), style="dim"))
