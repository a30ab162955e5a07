"""The progress of a batch on stderr: a bar that moves on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from .._jobs.transitions import is_open
from .batch_render import counts_text
from .render import credits_text, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import ConsoleRenderable

    from ..batch import Batch
    from .output import Output

BETWEEN_LINES: Final = 10.0
"""Seconds."""

FRAMES_PER_SECOND: Final = 4
BAR_WIDTH: Final = 40


def board_for(output: Output, batch: Batch) -> AbstractAsyncContextManager[None]:
    """The board that fits stderr: none in JSON mode, a moving bar where someone looks, else lines."""
    if output.is_json:
        return nullcontext()
    if output.is_live and find_spec("rich") is not None:
        return _bar(batch)
    return _lines(output, batch)


class Pace:
    """How fast rows are settled, since it was made."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._settled_before = self.settled

    @property
    def settled(self) -> int:
        """Rows that have come to an end."""
        return sum(count for state, count in self._batch.counts.items() if not is_open(state, downloads=False))

    @property
    def text(self) -> str:
        """How the batch stands, in one line."""
        counts = self._batch.counts
        elapsed = self._loop.time() - self._began
        rate = (self.settled - self._settled_before) / elapsed if elapsed > 1 else 0.0
        pace = f"  ·  {rate:.1f}/s, {seconds((counts.total() - self.settled) / rate)} left" if rate else ""
        return f"{counts_text(counts)}  ·  {credits_text(self._batch.credits)}{pace}"


@asynccontextmanager
async def _lines(output: Output, batch: Batch) -> AsyncIterator[None]:
    pace = Pace(batch)

    async def tell() -> None:
        while True:
            await asyncio.sleep(BETWEEN_LINES)
            output.note(pace.text)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


@asynccontextmanager
async def _bar(batch: Batch) -> AsyncIterator[None]:
    from rich.console import Console
    from rich.live import Live

    pace = Pace(batch)
    with Live(
        console=Console(stderr=True),
        get_renderable=lambda: drawn(pace, batch),
        refresh_per_second=FRAMES_PER_SECOND,
        redirect_stdout=False,
    ):
        yield


def drawn(pace: Pace, batch: Batch) -> ConsoleRenderable:
    """The bar, and how the batch stands."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    total = batch.counts.total()
    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(total, 1), completed=pace.settled, width=BAR_WIDTH, complete_style="green")
    line.add_row(bar, Text(f"{pace.settled:,} of {total:,}", style="bold"))
    return Group(line, Text(pace.text, style="dim"))
