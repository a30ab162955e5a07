"""Output of `rivya batch`: progress, invalid rows, the estimated cost, and the summary of a journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._core.terminal_text import to_one_line
from .._core.types.progress import Progress
from .._engine.environment import Environment
from ..batch import InvalidRow, JobState
from ..batch.journal_reader import read_summary
from ..batch.row_reference import parse_reference
from .exit_codes import ExitCode
from .progress import live_display, render_bar
from .render import format_credits, format_duration, pluralize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from rich.console import ConsoleRenderable

    from .._core.catalogue.model import Model
    from .._core.types.generations import Amount
    from ..batch import Batch, Manifest, PlanResult, RowRecord
    from ..batch.journal_reader import Summary
    from .output import Output

LINE_INTERVAL: Final = 10.0
"""Seconds between two lines of progress."""

STATES: Final = (
    *(JobState.DOWNLOADED, JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD),
    *(JobState.SUBMITTED, JobState.INTENT, JobState.PLANNED),
)
"""Order of the counts, the final states first."""


def format_counts(counts: Counter[JobState]) -> str:
    """Returns the counts as `280 downloaded, 3 failed, 17 submitted`."""
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state]) or "no rows"


@asynccontextmanager
async def batch_progress(output: Output, batch: Batch) -> AsyncIterator[Callable[[Progress], None]]:
    """Yields `on_progress` of `Batch.run`: a live bar on a terminal, a line every few seconds in a log."""
    latest = Progress(0, 0, 0, 0, None)

    def on_progress(progress: Progress) -> None:
        nonlocal latest
        latest = progress

    def format_line() -> str:
        return format_progress(attrs.evolve(latest, credits=batch.credits), batch.counts)

    def render(_: int) -> ConsoleRenderable:
        from rich.console import Group
        from rich.text import Text

        return Group(render_bar(latest.done + latest.failed, latest.total), Text(format_line(), style="dim"))

    async def write_lines() -> None:
        while True:
            await asyncio.sleep(LINE_INTERVAL)
            output.write_note(format_line())

    if output.shows_progress:
        with live_display(render):
            yield on_progress
        return
    lines = asyncio.create_task(write_lines())
    try:
        yield on_progress
    finally:
        lines.cancel()
        await asyncio.wait([lines])


def format_progress(progress: Progress, counts: Counter[JobState]) -> str:
    """Returns counts, credits, rate and time left in one line. `open` rows include those that are not saved yet."""
    rate = progress.rate
    left = f"  ·  {rate:.1f}/s, {format_duration(progress.seconds_left)} left" if rate and progress.open else ""
    numbers = f"{progress.done:,} done, {progress.failed:,} failed, {progress.open:,} open"
    return f"{numbers}  ·  {format_counts(counts)}  ·  {format_credits(progress.credits)}{left}"


def write_invalid_row(row: InvalidRow, output: Output) -> None:
    """Writes the problems of a row."""
    if output.is_json:
        output.write_result({"line": row.line, "problems": list(row.problems)})
    else:
        output.write_note(f"line {row.line}: {'; '.join(row.problems)}")


async def write_estimate(manifest: Manifest, models: Mapping[str, Model], output: Output) -> ExitCode:
    """Writes the invalid rows, and the cost of the others."""
    kinds, price = await asyncio.to_thread(_estimate, manifest, models, output)
    invalid, least, unpriced = kinds.pop("invalid", 0), kinds["lower_bound"], kinds["unknown"]
    rows = kinds.total()
    text = f"{pluralize(rows, 'row')}: {'at least' if least else 'about'} {format_credits(price)}."
    if least:
        text += f" The params of {pluralize(least, 'row')} of them may raise the price."
    if unpriced:
        text += f" The catalogue does not say what {pluralize(unpriced, 'row')} of them cost."
    if invalid:
        text += f" {pluralize(invalid, 'row')} cannot be bought as they are."
    value = {"rows": rows, "estimated_credits": price, "rows_with_lower_bound": least}
    value |= {"rows_without_price": unpriced, "invalid_rows": invalid}
    output.write_result(value, text=f"{text} Nothing was bought.")
    return ExitCode.USAGE if invalid else ExitCode.OK


def _estimate(manifest: Manifest, models: Mapping[str, Model], output: Output) -> tuple[Counter[str], Amount]:
    """Returns the number of rows by kind of their price, or `invalid`, and their credits. Writes the invalid rows."""
    kinds = Counter[str]()
    total: Amount = 0
    for row in manifest:
        if isinstance(row, InvalidRow):
            kinds["invalid"] += 1
            write_invalid_row(row, output)
            continue
        references = [parse_reference(each) for each in row.references]
        price = models[row.model].estimate_credits(row.prompt, row.params, references)
        kinds[price.kind] += 1
        total += price.credits or 0
    return kinds, total


def write_plan(planned: PlanResult, output: Output) -> None:
    """Writes invalid and conflicting rows, and the numbers of rows by outcome."""
    for row in planned.invalid_rows:
        write_invalid_row(row, output)
    for conflict in planned.conflicts:
        if output.is_json:
            output.write_result({"line": conflict.line, "conflict": conflict.identity, "state": str(conflict.state)})
            continue
        output.write_note(
            f"line {conflict.line} ({conflict.identity}) is not what it was when its purchase was begun; it stays "
            f"{conflict.state} with its earlier content: give the new one a name of its own to buy it"
        )
    output.write_note(
        f"{planned.new:,} new rows, {planned.known:,} known, {planned.replaced:,} replaced, "
        f"{planned.conflicting:,} conflicting, {planned.invalid:,} invalid"
    )


def format_row_error(record: RowRecord) -> str:
    """Returns the error of a row. A download that failed is repeated by the next run: nothing is in doubt."""
    place = f"line {record.row.line} ({record.row.identity})"
    if record.state is not JobState.SUCCEEDED:
        return f"{place}: {record.state}: {record.error}"
    reason = "the file host did not answer" if "may or may not" in str(record.error) else record.error
    return f"{place}: bought, not saved yet: {reason}. Run the same command again to save it"


async def write_summary(journal: Path, output: Output, *, downloads: bool = False) -> Summary:
    """Reads the state of a batch, writes it, and returns it. With `downloads`, rows are done once they are saved."""
    summary = await asyncio.to_thread(read_summary, journal, Environment().wall_time())
    unsaved = summary.counts[JobState.SUCCEEDED] if downloads else 0
    text = "\n".join(_summary_lines(summary, journal, unsaved, is_embedded=output.is_embedded))
    output.write_result(_summary_to_json(summary), text=text)
    return summary


def _summary_lines(summary: Summary, journal: Path, unsaved: int, *, is_embedded: bool) -> list[str]:
    service = f" at {to_one_line(summary.service)}" if summary.service else ""
    earlier = f", {format_credits(summary.bought_earlier)} of jobs that had been bought earlier"
    lines = [
        f"batch {to_one_line(summary.batch_id)}: {pluralize(summary.rows, 'row')}{service}",
        f"  {format_counts(summary.counts)}",
        f"  {format_credits(summary.spent)} spent, {format_credits(summary.reserved)} reserved"
        f"{earlier if summary.bought_earlier else ''}",
    ]
    if not summary.runs:
        lines.append("  it has not been run")
    elif summary.rate is not None:
        lines.append(f"  {summary.rate:.1f} jobs a second, about {format_duration(summary.seconds_left)} left")
    lines.extend(
        f"  {reason.rows:,} {reason.state}: {to_one_line(reason.name)}: {to_one_line(reason.message)[:160]}"
        for reason in summary.reasons
    )
    if is_embedded and summary.open + unsaved:
        open_rows = pluralize(summary.open + unsaved, "row")
        return [*lines, f"  {open_rows} open: the jobs ended with the sandbox. Delete {journal} to begin again"]
    if summary.open:
        lines.append(f"  {pluralize(summary.open, 'row')} open: run the same command again to go on")
    if unsaved:
        lines.append(f"  {pluralize(unsaved, 'row')} bought and not saved yet: run the same command again to save them")
    return lines


def _summary_to_json(summary: Summary) -> dict[str, Any]:
    return {
        "batch": summary.batch_id,
        "service": summary.service,
        "rows": summary.rows,
        "open": summary.open,
        "counts": {str(state): summary.counts[state] for state in STATES},
        "spent": summary.spent,
        "reserved": summary.reserved,
        "bought_earlier": summary.bought_earlier,
        "rate": summary.rate,
        "seconds_left": summary.seconds_left,
        "reasons": list(map(attrs.asdict, summary.reasons)),
    }
