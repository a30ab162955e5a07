"""`rivya batch`: a manifest in, files out."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from contextlib import aclosing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from ..._core.errors import ConfigurationError
from ..._core.spend import validate_prices
from ..._jobs.transitions import is_open
from ...batch import Batch, InvalidRow, InvalidRowsError, JobState, Manifest
from ...batch.export import flatten_record
from ...batch.report import load_template
from ...batch.row_reference import parse_reference
from ..batch_progress import batch_progress
from ..command import RivyaGroup, command
from ..errors import exit_code_for
from ..exit_codes import ExitCode
from ..options import FILE, FOLDER, POSITIVE, KeyValue, broker_options, price_file_option, read_stdin_bytes
from ..render import format_credits, pluralize
from ..run import handle_signals
from ..run_jobs import check_writable, ensure_dir
from ..session_factory import price_file as use_price_file
from .batch_journal import check_target, export, report, retry, status, write_report_page, write_summary
from .execution_backend import open_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..._core.catalogue.model import Model
    from ..._core.types.generations import Amount
    from ...batch import PlanResult, RowRecord
    from ..output import Output
    from ..run import CommandContext
    from .execution_backend import ExecutionBackend


@click.group(cls=RivyaGroup)
def batch() -> None:
    """Run thousands of jobs from a file, and resume after any interruption.

    Every purchase is in a journal before it is sent: after any end, also kill -9, the same command
    continues and buys nothing twice. The first Ctrl-C stops gracefully (exit code 75: run it again),
    the second at once.
    --json: a line for each row as it ends or can go no further, then one with the counts.

    Examples:
      rivya batch run kites.csv -o kites --max-spend 500
      rivya batch run kites.csv --set model=z-image --set 'prompt=A {colour} kite' --dry-run
      rivya batch run kites.csv -o kites --broker redis://127.0.0.1:6379
      rivya batch status kites.journal
      rivya batch retry kites.journal
      rivya batch report kites.journal -o kites.html
      rivya batch export kites.journal --format csv -o kites-done.csv
    """


STDIN: Final = Path("-")

COLUMN: Final = KeyValue("COLUMN=TEXT", "model=z-image")


PRICE: Final = KeyValue("MODEL=CREDITS", "kling-3-0=180")


def _parse_credits(text: str) -> float:
    return int(text) if text.isascii() and text.isdecimal() else float(text)


@command("run", batch)
@click.argument("manifest", type=FILE)
@click.option("--journal", metavar="FILE", type=FILE, help="Journal.  [default: MANIFEST with .journal]")
@click.option("--id", "batch_id", metavar="ID", help="Id of a new batch, source of its keys.  [default: JOURNAL]")
@click.option("-o", "--output", "folder", metavar="DIR", type=FOLDER, help="Save the results in this folder.")
@click.option("--set", "fill", type=COLUMN, multiple=True, help="Value for rows that have none (repeatable).")
@click.option("--keep-going", is_flag=True, help="Run the valid rows also if there are invalid ones.")
@click.option("--dry-run", is_flag=True, help="Check every row and show the cost; buy nothing.")
@click.option("--max-in-flight", metavar="N", type=POSITIVE, default=100, help="Rows in progress at a time.")
@click.option("--max-spend", metavar="C", type=_parse_credits, help="Credits of the whole batch, over all its runs.")
@click.option("--price", "prices", type=PRICE, multiple=True, help="Most that a job of a model costs (repeatable).")
@price_file_option
@click.option("--retry-failed", metavar="N", type=int, default=0, help="Buy failed jobs again, at most N times.")
@click.option("--report", "report_path", metavar="FILE", type=FILE, help="Write the report to this file at the end.")
@click.option("--format", "form", type=click.Choice(("jsonl", "csv")), help="Format of MANIFEST.  [default: detected]")
@click.option("--reference-root", metavar="DIR", type=FOLDER, help="Reject local references outside this folder.")
@broker_options("Let workers buy, wait and save")
@click.option(
    "--download-on", type=click.Choice(("here", "worker")), default="here", help="Machine that has the folder."
)
async def run(context: CommandContext, *, manifest: Path, journal: Path | None, dry_run: bool, **options: Any) -> int:
    """Buy the jobs of a manifest, wait for them and save the results; continue an earlier run.

    MANIFEST is JSON Lines or CSV, by the ending of its name or its first line; - is stdin, which needs --journal.
    """
    is_stream = manifest == STDIN or (manifest.exists() and not _is_regular(manifest))
    if is_stream and journal is None and not dry_run:
        raise ConfigurationError(f"{manifest} is no regular file: name the journal of this batch with --journal FILE")
    journal = journal or manifest.with_suffix(".journal")
    with _copy_stream(manifest) if is_stream else nullcontext(manifest) as source:
        return await _run_manifest(context, source, journal, dry_run=dry_run, **options)


def _is_regular(path: Path) -> bool:
    """Reports if the path names a file of its own: /dev/stdin is another one in each command, also if it is a file."""
    return path.is_file() and not path.absolute().is_relative_to("/dev") and not path.absolute().is_relative_to("/proc")


@contextmanager
def _copy_stream(path: Path) -> Iterator[Path]:
    """Yields a copy of stdin or of a pipe, which can be read only once."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, f"stdin{path.suffix}" if path == STDIN else path.name)
        with read_stdin_bytes() if path == STDIN else path.open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield copy


async def _run_manifest(
    context: CommandContext,
    manifest: Path,
    journal: Path,
    *,
    dry_run: bool,
    batch_id: str | None,
    folder: str | None,
    fill: tuple[tuple[str, str], ...],
    prices: tuple[tuple[str, str], ...],
    price_file: Path | None,
    keep_going: bool,
    report_path: Path | None,
    form: Literal["csv", "jsonl"] | None,
    reference_root: str | None,
    broker: str | None,
    queue: str,
    download_on: str,
    **options: Any,
) -> int:
    output = context.output
    open_manifest = partial(Manifest, manifest, fill=dict(fill), format=form, reference_root=reference_root)
    next(iter(open_manifest()), None)  # raises for a file that is no manifest before a journal is made for it
    if dry_run:
        async with context.open_session(needs_key=False) as session, use_price_file(session, price_file):
            session.prices.given = _parse_prices(prices)
            models = await session.models.catalogue()
            return await _run_dry(open_manifest(models=models), models, output)
    if report_path is not None:
        check_target(report_path, manifest, journal)
        check_writable(report_path.parent)
        load_template()  # a missing Jinja2 is reported before anything is bought
    if context.is_sandbox and broker is not None:
        raise ConfigurationError("workers cannot reach a sandbox that lives in this command: start `rivya sandbox`")
    if folder is not None and download_on == "here":
        folder = str(ensure_dir(folder))
    async with (
        Batch.open(journal, id=batch_id) as opened,
        context.open_session(renders=folder is not None, hooks=opened.hooks) as session,
        use_price_file(session, price_file),
        open_backend(session, output, broker, queue, download_on) as backend,
    ):
        session.prices.given = _parse_prices(prices)
        code = await _run_rows(opened, open_manifest, backend, output, folder, keep_going=keep_going, **options)
    if report_path is not None:
        await write_report_page(journal, report_path, output)
    return code


def _parse_prices(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, Amount]:
    try:
        return validate_prices({model: _parse_credits(text) for model, text in pairs})
    except ValueError:
        raise ConfigurationError("--price takes the id of a model and a number: kling-3-0=180") from None


for _each in (status, retry, report, export):
    batch.add_command(_each)


# --- dry run ----------------------------------------------------------------------------------------------------------


async def _run_dry(manifest: Manifest, models: Mapping[str, Model], output: Output) -> int:
    rows, price, least, unpriced, bad = await asyncio.to_thread(_estimate, manifest, models, output)
    text = f"{pluralize(rows, 'row')}: {'at least' if least else 'about'} {format_credits(price)}."
    if least:
        text += f" The params of {pluralize(least, 'row')} of them may raise the price."
    if unpriced:
        text += f" The catalogue does not say what {pluralize(unpriced, 'row')} of them cost."
    if bad:
        text += f" {pluralize(bad, 'row')} cannot be bought as they are."
    value = {"rows": rows, "estimated_credits": price, "rows_with_lower_bound": least}
    value |= {"rows_without_price": unpriced, "bad_rows": bad}
    output.write_result(value, text=f"{text} Nothing was bought.")
    return ExitCode.USAGE if bad else ExitCode.OK


def _estimate(manifest: Manifest, models: Mapping[str, Model], output: Output) -> tuple[int, Amount, int, int, int]:
    """Returns valid rows, their credits, rows with a lower bound, rows without a price, and invalid rows.

    Writes the invalid rows, too.
    """
    rows = least = unpriced = bad = 0
    total: Amount = 0
    for row in manifest:
        if isinstance(row, InvalidRow):
            bad += 1
            _write_bad_row(row, output)
            continue
        references = [parse_reference(each) for each in row.references]
        price = models[row.model].estimate_credits(row.prompt, row.params, references)
        rows += 1
        total += price.credits or 0
        least += price.kind == "lower_bound"
        unpriced += price.kind == "unknown"
    return rows, total, least, unpriced, bad


def _write_bad_row(row: InvalidRow, output: Output) -> None:
    if output.is_json:
        output.write_result({"line": row.line, "problems": list(row.problems)})
    else:
        output.write_note(f"line {row.line}: {'; '.join(row.problems)}")


# --- run --------------------------------------------------------------------------------------------------------------


async def _run_rows(
    batch: Batch,
    open_manifest: Callable[..., Manifest],
    backend: ExecutionBackend,
    output: Output,
    folder: str | None,
    *,
    keep_going: bool,
    **options: Any,
) -> int:
    """Adds the rows to the journal and runs them. `options` are those of `Batch.run` that have the same name."""
    with _stop_on_signal(batch, backend, output) as signals:
        models = await backend.carrier.models.catalogue()
        try:
            planned = await batch.add(open_manifest(models=models), keep_going=keep_going)
        except InvalidRowsError as error:
            for bad in error.result.invalid_rows:
                _write_bad_row(bad, output)
            raise ConfigurationError(
                f"{pluralize(error.result.invalid, 'row')} cannot be bought as they are, so nothing was: "
                "correct them, or run the valid ones with --keep-going"
            ) from None
        _write_plan(planned, output)
        records = batch.run(backend.carrier, download_to=folder, save=backend.save, **options)
        if not signals:
            async with aclosing(records), batch_progress(output, batch, downloads=folder is not None):
                async for record in records:
                    if output.is_json:
                        output.write_result(flatten_record(record))
                    elif record.error is not None:
                        output.write_note(_format_problem(record))
    summary = await write_summary(batch.path, output, downloads=folder is not None)
    if batch.halted is not None:
        output.write_error(batch.halted)
        return exit_code_for(batch.halted)
    if any(is_open(state, downloads=folder is not None) for state in summary.counts):
        return ExitCode.RESUME
    if summary.counts[JobState.FAILED] + summary.counts[JobState.DEAD]:
        return ExitCode.JOB_FAILED
    return ExitCode.USAGE if planned.conflicting else ExitCode.OK


def _format_problem(record: RowRecord) -> str:
    """Returns the error of a row. A download that failed is repeated by the next run: nothing is in doubt."""
    place = f"line {record.row.line} ({record.row.identity})"
    if record.state is not JobState.SUCCEEDED:
        return f"{place}: {record.state}: {record.error}"
    reason = "the file host did not answer" if "may or may not" in str(record.error) else record.error
    return f"{place}: bought, not saved yet: {reason}. Run the same command again to save it"


def _write_plan(planned: PlanResult, output: Output) -> None:
    for bad in planned.invalid_rows:
        _write_bad_row(bad, output)
    for conflict in planned.conflicts:
        if output.is_json:
            output.write_result({"line": conflict.line, "conflict": conflict.identity, "state": str(conflict.state)})
            continue
        output.write_note(
            f"line {conflict.line} ({conflict.identity}) is not what it was when its purchase was begun; it stays "
            f"{conflict.state} with its earlier content: give the new one a name of its own to buy it"
        )
    output.write_note(
        f"{planned.new:,} new rows, {planned.known:,} known, {planned.replaced:,} changed, "
        f"{planned.conflicting:,} conflicts, {planned.invalid:,} bad"
    )


@contextmanager
def _stop_on_signal(batch: Batch, backend: ExecutionBackend, output: Output) -> Iterator[list[int]]:
    """Lets the first Ctrl-C or SIGTERM stop the batch gracefully, the second end the command. Yields the signals."""
    task, received = asyncio.current_task(), []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            if task is not None and number != getattr(signal, "SIGHUP", None):  # shells repeat that of a terminal
                task.cancel()
            return
        output.write_note(
            "stopping: nothing more is bought; open jobs continue at the service. Once more to end at once"
        )
        backend.stop()
        batch.stop()

    with handle_signals(stop, "SIGINT"):
        yield received
