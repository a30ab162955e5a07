"""Progress bars in terminals and notebooks. Needs the extra `cli`.

    with ProgressBar("kites") as bar:
        async for outcome in session.map(requests, on_progress=bar):
            ...
    with ProgressBar("kite.mp4") as bar:
        await session.download(job, "out/", on_progress=bar)
    for outcome in track(blocking_session.map(requests), total=500):
        ...

A `ProgressBar` is a callback for every `on_progress`: of `map`, `as_completed`, a `Batch`, downloads and uploads.
`track` wraps a loop over the items of `map` or `as_completed` and shows a bar for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from contextlib import aclosing, closing, nullcontext
from html import escape
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from ._core.errors import ConfigurationError
from ._core.generation_request import Outcome
from ._core.types.generations import Generation
from ._core.types.progress import Progress, ProgressCounter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Progress", "ProgressBar", "track"]

NOTEBOOK_INTERVAL: Final = 0.1
"""Minimum number of seconds between updates of a bar in a notebook."""

T = TypeVar("T", Outcome, Generation)
OnProgress = Callable[[Progress], object]


@overload
def track(
    items: AsyncIterable[T], *, total: int | None = None, on_progress: OnProgress | None = None, description: str = ...
) -> AsyncGenerator[T]: ...
@overload
def track(
    items: Iterable[T], *, total: int | None = None, on_progress: OnProgress | None = None, description: str = ...
) -> Generator[T]: ...
def track(items: Any, *, total: int | None = None, on_progress: OnProgress | None = None, description: str = "") -> Any:
    """Yields the outcomes of `map`, or the records of `as_completed`, and reports each end.

    `total` is the number of jobs, if it is known; a list has one. `on_progress` is called after each end, and once at
    the start; left out, a bar is shown. Leaving the loop early closes `items`; in an async function, close the
    generator (`contextlib.aclosing`) to do so at once.

    >>> async def main():
    ...     async with RivyaSession() as session:
    ...         requests = [GenerationRequest("z-image", f"Poster number {n}") for n in range(3)]
    ...         seen = []
    ...         async for outcome in track(session.map(requests), total=3, on_progress=seen.append):
    ...             pass
    ...         return [(progress.done, progress.open) for progress in seen]
    >>> asyncio.run(main())
    [(0, 3), (1, 2), (2, 1), (3, 0)]
    """
    if isinstance(items, AsyncIterable):
        return _track_async(items, total, on_progress, description)
    return _track(items, len(items) if total is None and hasattr(items, "__len__") else total, on_progress, description)


async def _track_async(
    items: AsyncIterable[Any], total: int | None, on_progress: OnProgress | None, description: str
) -> AsyncGenerator[Any]:
    with _reporter(total, on_progress, description) as report:
        counter = _begin(total, report)
        async with aclosing(items) if isinstance(items, AsyncGenerator) else nullcontext():
            async for item in items:
                _count(counter, item, report)
                yield item


def _track(items: Iterable[Any], total: int | None, on_progress: OnProgress | None, description: str) -> Generator[Any]:
    with _reporter(total, on_progress, description) as report:
        counter = _begin(total, report)
        with closing(items) if isinstance(items, Generator) else nullcontext():
            for item in items:
                _count(counter, item, report)
                yield item


def _reporter(
    total: int | None, on_progress: OnProgress | None, description: str
) -> AbstractContextManager[OnProgress]:
    return ProgressBar(description, total=total) if on_progress is None else nullcontext(on_progress)


def _begin(total: int | None, report: OnProgress) -> ProgressCounter:
    counter = ProgressCounter(total, now := monotonic())
    report(counter.measure(now))
    return counter


def _count(counter: ProgressCounter, item: Outcome | Generation, report: OnProgress) -> None:
    if isinstance(item, Outcome):
        counter.add(item.generation, succeeded=item.ok)
    else:
        counter.add(item, succeeded=item.succeeded)
    report(counter.measure(monotonic()))


class ProgressBar:
    """A progress bar in a terminal (on stderr) or a notebook, to be used as `on_progress` within its `with` block.

    It shows a `Progress` of jobs, or the bytes of a transfer: `bar(received, total)`. `total` is the number of jobs;
    left out, it is the number of known ones.
    """

    def __init__(self, description: str = "", *, total: int | None = None) -> None:
        self._description = description
        self._total = total
        self._show: Callable[[float, float | None, str], None] | None = None
        self._stop: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        try:
            from rich.console import Console
        except ImportError:
            raise ConfigurationError("a progress bar needs rich: pip install 'rivya-async[cli]'") from None
        console = Console(stderr=True)
        self._show, self._stop = (
            _notebook_bar(self._description) if console.is_jupyter else _terminal_bar(self._description, console)
        )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._stop is not None:
            self._stop()
        self._show = None

    def __call__(self, progress: Progress | int, total: int | None = None) -> None:
        """Shows the progress of jobs, or of `progress` bytes of `total`. Does nothing after the block.

        Raises `ConfigurationError` before the block.
        """
        if self._stop is None:
            raise ConfigurationError("the progress bar is not shown yet: use it within `with ProgressBar() as bar:`")
        if self._show is None:
            return
        if isinstance(progress, int):
            size = f"{progress / 1e6:,.1f} MB" if total is None else f"{progress / 1e6:,.1f} of {total / 1e6:,.1f} MB"
            self._show(progress, total, size)
            return
        ended = progress.done + progress.failed
        known = self._total if self._total is not None else progress.total
        parts = [f"{ended:,} of {known:,}" if known else f"{ended:,}"]
        parts += [f"{progress.failed:,} failed"] if progress.failed else []
        parts += [f"{progress.credits:,} credit{'' if progress.credits == 1 else 's'}"]
        parts += [f"{progress.rate:.1f}/s"] if progress.rate is not None else []
        self._show(ended, known or None, ", ".join(parts))


Bar = tuple[Callable[[float, float | None, str], None], Callable[[], None]]


def _terminal_bar(description: str, console: Any) -> Bar:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[details]}", markup=False),
        TimeRemainingColumn(),
    )
    bars = RichProgress(*columns, console=console)
    task = bars.add_task(description, total=None, details="")
    bars.start()

    def show(completed: float, total: float | None, details: str) -> None:
        bars.update(task, completed=completed, total=total, details=details)

    return show, bars.stop


def _notebook_bar(description: str) -> Bar:
    """Returns a bar that needs no widgets: an output of the cell, which is updated at most ten times per second."""
    from IPython.display import HTML, display

    handle: Any = display(HTML(""), display_id=True)
    latest, shown_at = "", float("-inf")

    def update() -> None:
        handle.update(HTML(latest))

    def show(completed: float, total: float | None, details: str) -> None:
        nonlocal latest, shown_at
        value = "" if total is None else f' value="{completed:g}" max="{max(total, 1):g}"'
        latest = f"<div>{escape(description)} <progress{value}></progress> {escape(details)}</div>"
        if monotonic() - shown_at >= NOTEBOOK_INTERVAL:
            shown_at = monotonic()
            update()

    return show, update
