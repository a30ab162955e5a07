"""Progress on stderr: live displays on a terminal, lines elsewhere, nothing in JSON mode."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from .._core.terminal_text import to_one_line
from .render import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import ConsoleRenderable
    from rich.live import Live
    from rich.table import Table

    from .._engine.transfers.uploader import OnProgress
    from .jobs import Job
    from .output import Output

FRAMES_PER_SECOND: Final = 12

BAR_WIDTH: Final = 40
"""Columns."""

MAX_ROWS: Final = 24
"""Rows of the live table. Of more jobs, unfinished ones come first."""

STATUS_STYLES: Final = {
    "waiting": ("·", "dim"),
    "buying": ("↑", "cyan"),
    "queued": ("○", "yellow"),
    "saving": ("↓", "magenta"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "error": ("✗", "bold red"),
}
"""Sign and colour of each status. Other statuses are in progress."""

SPINNER: Final = "◐◓◑◒"
SPINNER_SPEED: Final = 6
"""Signs per second."""

WIDE_TERMINAL: Final = 114
"""Columns from which model names are not shortened."""

TASK_ID_TERMINAL: Final = 104
"""Columns from which task ids stand beside prompts."""


@contextmanager
def job_progress(output: Output, jobs: Sequence[Job]) -> Iterator[Callable[[Job], None]]:
    """Yields the function to call after every change of a job. The last frame of a live table stays on the terminal."""
    if output.is_json:
        yield lambda _: None
    elif output.shows_progress:
        with live_display(lambda width: render_jobs(jobs, width=width)):
            yield lambda _: None  # every frame reads the jobs
    else:
        yield LineProgress(output, jobs).update


class LineProgress:
    """Writer of a line for every change of a job's status, from its purchase on."""

    def __init__(self, output: Output, jobs: Sequence[Job]) -> None:
        self._output = output
        self._count = len(jobs)
        self._shown: dict[int, str] = {}

    def update(self, job: Job) -> None:
        """Writes a line if the status differs from the one shown last."""
        if self._shown.get(job.number) == job.status or job.status == "buying":
            return
        self._shown[job.number] = job.status
        parts = (f"[{job.number}/{self._count}]", job.status, job.task_id, job.model, format_duration(job.seconds))
        self._output.write_note(" ".join(part for part in parts if part))


def live_display(render: Callable[[int], ConsoleRenderable]) -> Live:
    """Returns a display on stderr that calls `render` with the terminal's columns for every frame."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    return Live(
        console=console,
        get_renderable=lambda: render(console.width),
        refresh_per_second=FRAMES_PER_SECOND,
        redirect_stdout=False,
        vertical_overflow="crop",
    )


def render_jobs(jobs: Sequence[Job], *, width: int) -> ConsoleRenderable:
    """Returns the table and the bar for a terminal of so many columns."""
    from rich.console import Group
    from rich.text import Text

    failed = sum(job.error is not None for job in jobs)
    text = Text.assemble(("  ·  ", "dim"), f"{sum(job.credits for job in jobs):,} credits")
    if failed:
        text.append(f"  ·  {failed} failed", style="bold red")
    return Group(_render_table(jobs, width), render_bar(sum(job.has_ended for job in jobs), len(jobs), text), "")


def render_bar(completed: int, total: int, *details: ConsoleRenderable) -> Table:
    """Returns a bar with the count and more details beside it."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bar = ProgressBar(max(total, 1), completed, BAR_WIDTH, complete_style="green", finished_style="green")
    count = Text(f"{completed:,} of {total:,}", style="bold")
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(bar, count, *details)
    return line


def _render_table(jobs: Sequence[Job], width: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    has_prompts = any(job.prompt for job in jobs)
    has_tasks = width >= TASK_ID_TERMINAL or not has_prompts
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", style="dim", no_wrap=True)
    table.add_column("status", width=12, no_wrap=True)
    table.add_column("model", max_width=26 if width >= WIDE_TERMINAL else 16)
    if has_prompts:
        table.add_column("prompt", style="dim", max_width=56)
    if has_tasks:
        table.add_column("task", style="dim", width=14 if has_prompts else 28, no_wrap=True)
    table.add_column("time", justify="right", width=8, no_wrap=True)
    table.add_column("credits", justify="right", width=7, no_wrap=True)
    spinner = SPINNER[int(monotonic() * SPINNER_SPEED) % len(SPINNER)]
    for job in _visible_jobs(jobs):
        sign, style = STATUS_STYLES.get(job.status, (spinner, "bright_blue"))
        cells = [
            Text(f"{job.number}"),
            Text(f"{sign} {to_one_line(job.status)}", style),
            Text(to_one_line(job.model)),
            *([Text(to_one_line(job.prompt))] if has_prompts else []),
            *([Text(to_one_line(job.task_id or ""))] if has_tasks else []),
            Text(format_duration(job.seconds)),
            Text(f"{job.credits:,}" if job.generation else ""),
        ]
        for cell in cells:
            cell.no_wrap, cell.overflow = True, "ellipsis"
        table.add_row(*cells)
    return table


def _visible_jobs(jobs: Sequence[Job]) -> Sequence[Job]:
    unfinished_first = sorted(jobs, key=lambda job: (job.has_ended, job.number))
    return sorted(unfinished_first[:MAX_ROWS], key=lambda job: job.number)


@contextmanager
def transfer_progress(output: Output) -> Iterator[Callable[[str], OnProgress | None]]:
    """Yields a function that makes a progress callback for a named transfer, or None where nothing can be shown."""
    if not output.shows_progress:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def add_bar(name: str) -> OnProgress:
            bar = progress.add_task(name, total=None)
            return lambda received, total: progress.update(bar, completed=received, total=total)

        yield add_bar
