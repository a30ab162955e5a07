"""Bars that move on a terminal while files come."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._engine.transfers.uploader import OnProgress
    from .output import Output


@contextmanager
def shown(output: Output) -> Iterator[Callable[[str], OnProgress | None]]:
    """What makes the listener of a transfer out of its name; of None where nobody looks."""
    if not output.is_live or find_spec("rich") is None:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def bar_of(name: str) -> OnProgress:
            bar = progress.add_task(name, total=None)

            def show(received: int, total: int | None) -> None:
                progress.update(bar, completed=received, total=total)

            return show

        yield bar_of
