"""The progress of jobs on stderr: a table that moves on a terminal, a line for each change elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

from .render import one_line, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console, ConsoleRenderable, JustifyMethod
    from rich.table import Table

    from .jobs import Job
    from .output import Output

FRAMES_PER_SECOND: Final = 12
BAR_WIDTH: Final = 40
MOST_ROWS: Final = 24
"""Rows of a moving table; of more jobs, those that are under way are shown first."""

LOOKS: Final = {
    "waiting": ("·", "dim"),
    "buying": ("↑", "cyan"),
    "queued": ("○", "yellow"),
    "processing": ("◐", "bright_blue"),
    "saving": ("↓", "magenta"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "error": ("✗", "bold red"),
}
"""Of each status: a sign and a colour."""

MOVING: Final = "◐◓◑◒"

WIDE: Final = 114
"""Columns from which a terminal has room for whole model names."""

MODEL_WIDTHS: Final = (16, 26)
TASK_WIDTH: Final = 14
LEAST_PROMPT: Final = 24
MOST_PROMPT: Final = 56
GAP: Final = 3
"""Columns between two columns of the table, its padding and its rule."""


class Board(Protocol):
    """Told of every change."""

    def changed(self, job: Job) -> None:
        """This job has taken a step."""


def board_for(output: Output, jobs: Sequence[Job]) -> AbstractContextManager[Board]:
    """The board that fits stderr: none in JSON mode, a moving table where someone looks, else lines."""
    if output.is_json:
        return nullcontext(Silence())
    if output.is_live:
        try:
            from rich.console import Console

            return LiveBoard(jobs, Console(stderr=True))
        except ImportError:
            output.note("for a moving table: pip install 'rivya-async[cli]'")
    return nullcontext(Lines(output, jobs))


class Silence:
    """Says nothing."""

    def changed(self, job: Job) -> None:
        """Nothing."""


class Lines:
    """A line for every change of a job's status, from its purchase on."""

    def __init__(self, output: Output, jobs: Sequence[Job]) -> None:
        self._output = output
        self._count = len(jobs)
        self._seen: dict[int, str] = {}

    def changed(self, job: Job) -> None:
        """A line, if the status is another one."""
        if self._seen.get(job.number) == job.status or job.status == "buying":
            return
        self._seen[job.number] = job.status
        parts = [f"[{job.number}/{self._count}]", job.status, job.task_id or "", job.model, seconds(job.seconds)]
        self._output.note("  ".join(part for part in parts if part))


class LiveBoard:
    """A table that redraws itself, with a bar below; it stays on the screen when it is closed."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        from rich.live import Live

        self._jobs = jobs
        self._console = console
        self._frame = 0
        self._live = Live(
            console=console,
            get_renderable=self._drawn,
            refresh_per_second=FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> LiveBoard:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def changed(self, job: Job) -> None:
        """Nothing: the next frame shows it."""

    def _drawn(self) -> ConsoleRenderable:
        self._frame += 1
        return drawn(self._jobs, width=self._console.width, sign=MOVING[self._frame // 2 % len(MOVING)])


def drawn(jobs: Sequence[Job], *, width: int, sign: str = MOVING[0]) -> ConsoleRenderable:
    """The table and the bar, as they are now, for so many columns. `sign` stands for work in progress."""
    from rich.console import Group

    return Group(_table(jobs, width, sign), _bar(jobs), "")


def _table(jobs: Sequence[Job], width: int, sign: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = _shown(jobs)
    widths = _widths(shown, width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name, columns in widths.items():
        justify: JustifyMethod = "right" if name in {"#", "time", "credits"} else "left"
        style = "dim" if name in {"#", "prompt", "task"} else ""
        table.add_column(name, width=columns, justify=justify, style=style, no_wrap=True, overflow="ellipsis")
    for job in shown:
        mark, style = LOOKS.get(job.status, (sign, "bright_blue"))
        mark = sign if job.status == "processing" else mark
        cells = {
            "#": Text(str(job.number)),
            "status": Text(f"{mark} {one_line(job.status)}", style=style),
            "model": Text(one_line(job.model)),
            "prompt": Text(one_line(job.prompt)),
            "task": Text(one_line(job.task_id or "")),
            "time": Text(seconds(job.seconds)),
            "credits": Text(f"{job.credits:,}" if job.generation else ""),
        }
        table.add_row(*(cells[name] for name in widths))
    return table


def _widths(jobs: Sequence[Job], width: int) -> dict[str, int]:
    """Columns of the terminal for each column of the table.

    The prompt gets what is left; where that is little, task ids give way to it.
    """
    longest = max([0, *(len(job.model) for job in jobs)])
    prompt = max([0, *(len(one_line(job.prompt)) for job in jobs)])
    widths = {
        "#": len(str(max([0, *(job.number for job in jobs)]))),
        "status": 12,
        "model": max(5, min(longest, MODEL_WIDTHS[width >= WIDE])),
        "prompt": 0,
        "task": TASK_WIDTH if prompt else 2 * TASK_WIDTH,
        "time": 8,
        "credits": 7,
    }
    left = width - sum(widths.values()) - GAP * len(widths)
    if prompt and left < min(prompt, LEAST_PROMPT):
        left += widths.pop("task") + GAP
    widths["prompt"] = max(1, min(left, prompt, MOST_PROMPT))
    if not prompt:
        del widths["prompt"]
    return widths


def _shown(jobs: Sequence[Job]) -> Sequence[Job]:
    if len(jobs) <= MOST_ROWS:
        return jobs
    chosen = sorted(jobs, key=lambda job: (job.has_ended, job.number))[:MOST_ROWS]
    return sorted(chosen, key=lambda job: job.number)


def _bar(jobs: Sequence[Job]) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    ended = sum(job.has_ended for job in jobs)
    wrong = sum(job.error is not None for job in jobs)
    spent = sum(job.credits for job in jobs)
    said = Text.assemble((f"{ended}", "bold"), f" of {len(jobs)}", ("  ·  ", "dim"), f"{spent:,} credits")
    if wrong:
        said.append(f"  ·  {wrong} failed", style="bold red")
    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(
        total=max(len(jobs), 1), completed=ended, width=BAR_WIDTH, complete_style="green", finished_style="green"
    )
    line.add_row(bar, said)
    return line
