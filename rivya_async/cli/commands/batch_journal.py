"""`rivya batch status`, `retry`, `report` and `export`: commands that need only the journal."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from ..._core.errors import ConfigurationError
from ...batch import Batch, JobState
from ...batch.export import atomic_write, write_csv, write_json_lines, write_parquet
from ...batch.journal_reader import read_records, require_journal
from ..batch_output import write_summary
from ..command import command
from ..options import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...batch import RowRecord
    from ..output import Output
    from ..run import CommandContext

journal_argument = click.argument("journal", type=FILE)


@command("status")
@journal_argument
async def status(context: CommandContext, *, journal: Path) -> None:
    """Show counts, credits, rate, time left, and failures by reason."""
    await write_summary(journal, context.output)


@command("retry")
@journal_argument
@click.option("--only", type=click.Choice(("failed", "dead")), help="Only rows in this state.")
async def retry(context: CommandContext, *, journal: Path, only: str | None) -> None:
    """Let the next run try failed and dead rows again; failed jobs get a new purchase."""
    states = [JobState.FAILED, JobState.DEAD] if only is None else [JobState(only)]
    async with Batch.open(require_journal(journal)) as batch:
        count = await batch.retry(states)
    context.output.write_result({"rows": count}, text=f"{count:,} rows will be tried again: run the batch as before.")


@command("report")
@journal_argument
@click.option("-o", "--output", "target", metavar="FILE", type=FILE, help="The page.  [default: JOURNAL with .html]")
async def report(context: CommandContext, *, journal: Path, target: Path | None) -> None:
    """Write one HTML page: the results, the course of the run, the failures and their reasons."""
    await write_report_page(journal, check_target(target or journal.with_suffix(".html"), journal), context.output)


@command("export")
@journal_argument
@click.option("--format", "form", type=click.Choice(("jsonl", "csv", "parquet")), default="jsonl")
@click.option("-o", "--output", "target", metavar="FILE", type=FILE, help="Default: stdout; parquet needs a file.")
@click.option("--excel", is_flag=True, help="Begin the CSV file with a BOM, by which Excel detects UTF-8.")
async def export(context: CommandContext, *, journal: Path, form: str, target: Path | None, excel: bool) -> None:
    """Write all facts that the journal has of every row."""
    if target is None and form == "parquet":
        raise ConfigurationError("parquet is a binary format: give a file with -o")
    if excel and form != "csv":
        raise ConfigurationError("--excel is for --format csv")
    if target is not None:
        check_target(target, journal)
    write = partial(write_csv, is_excel=excel) if form == "csv" else write_json_lines
    await asyncio.to_thread(_export, journal, form, write, target, context.output)
    if target is not None:
        context.output.write_note(f"{target}")


def _export(
    journal: Path, form: str, write: Callable[[Iterable[RowRecord], TextIO], None], target: Path | None, output: Output
) -> None:
    with closing(read_records(journal)) as records:
        if target is None:
            output.write_document(lambda stream: write(records, stream))
            return
        with atomic_write(target) as part:
            if form == "parquet":
                write_parquet(records, part)
                return
            with part.open("w", encoding="utf-8", newline="") as file:
                write(records, file)


def check_target(path: Path, *needed: Path) -> Path:
    """Returns the path to write to. Raises `ConfigurationError` if it is one of the files that are still needed."""
    for each in needed:
        if path.resolve() == each.resolve() or (path.exists() and each.exists() and path.samefile(each)):
            raise ConfigurationError(f"{path} would be overwritten, and is still needed: choose another file")
    return path


async def write_report_page(journal: Path, page: Path, output: Output) -> None:
    """Writes the report of a journal and its path."""
    from ...batch.report import write_report

    await asyncio.to_thread(write_report, journal, page)
    output.write_result({"report": str(page)}, text=str(page))
