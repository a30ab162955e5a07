"""`rivya batch`: a manifest in, files out."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from ..._core.errors import ConfigurationError
from ..._core.spend import validate_prices
from ..._jobs.transitions import is_open
from ...batch import Batch, InvalidRowsError, JobState, Manifest
from ...batch.export import flatten_record
from ...batch.report import load_template
from ..batch_output import (
    batch_progress,
    format_row_error,
    write_estimate,
    write_invalid_row,
    write_plan,
    write_summary,
)
from ..command import RivyaGroup, command
from ..errors import exit_code_for
from ..exit_codes import ExitCode
from ..options import FILE, FOLDER, POSITIVE, KeyValue, broker_options, price_file_option, read_stdin_bytes
from ..render import pluralize
from ..run import handle_signals
from ..run_jobs import check_writable, ensure_dir
from ..session_factory import SANDBOX_POLL
from ..session_factory import price_file as use_price_file
from .batch_journal import check_target, export, report, retry, status, write_report_page
from .worker import require_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from ..._core.types.generations import Amount
    from ...session import RivyaSession
    from ...workers import RemoteJobClient
    from ..output import Output
    from ..run import CommandContext


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

BROKER_TIMEOUT: Final = 10.0
"""Seconds until a broker without a response counts as unreachable."""


def _parse_credits(text: str) -> Amount:
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
            return await write_estimate(open_manifest(models=models), models, output)
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
        _open_workers(session, output, broker, queue) as workers,
    ):
        session.prices.given = _parse_prices(prices)
        if context.is_sandbox:
            _check_no_open_jobs(opened, downloads=folder is not None)
        save = workers.save if workers is not None and download_on == "worker" else None
        options |= {"download_to": folder, "save": save}
        code = await _run_rows(opened, open_manifest, session, workers, output, keep_going=keep_going, **options)
    if report_path is not None:
        await write_report_page(journal, report_path, output)
    return code


@asynccontextmanager
async def _open_workers(
    session: RivyaSession, output: Output, broker: str | None, queue: str
) -> AsyncIterator[RemoteJobClient | None]:
    """Yields a client of the workers at the broker, or None: this process buys, waits and saves.

    Raises `RequestNotSentError` if the broker does not respond.
    """
    if broker is None:
        yield None
        return
    url = require_broker(broker)
    from ...workers import RemoteJobClient, RivyaWorker
    from ...workers.brokers import parse_broker_scheme

    is_embedded = parse_broker_scheme(url) == "memory"
    options: dict[str, Any] = {"poll": SANDBOX_POLL} if is_embedded and session.is_local else {}
    worker = RivyaWorker.from_url(url, queue=queue, **options)
    async with worker.lifespan(BROKER_TIMEOUT), RemoteJobClient(worker, session) as client:
        if not is_embedded and not await worker.store.list_workers():
            output.write_note("no worker is at this broker yet: start one with `rivya worker`")
        yield client


def _check_no_open_jobs(batch: Batch, *, downloads: bool) -> None:
    """Raises `ConfigurationError` if the journal has open jobs: a sandbox that has just started knows none of them."""
    counts = {state: count for state, count in batch.counts.items() if is_open(state, downloads=downloads)}
    open_jobs = sum(counts.values()) - counts.get(JobState.PLANNED, 0)
    if open_jobs:
        raise ConfigurationError(
            f"{batch.path} has {pluralize(open_jobs, 'open job')} of {batch.service}, which the new sandbox of this "
            "command does not know. The sandbox of an interrupted --sandbox command is gone, and its jobs with it: "
            "delete the journal, or name another one with --journal, to begin again. A service that still runs is "
            "continued without --sandbox"
        )


def _parse_prices(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, Amount]:
    try:
        return validate_prices({model: _parse_credits(text) for model, text in pairs})
    except ValueError:
        raise ConfigurationError("--price takes the id of a model and a number: kling-3-0=180") from None


for _each in (status, retry, report, export):
    batch.add_command(_each)


async def _run_rows(
    batch: Batch,
    open_manifest: Callable[..., Manifest],
    session: RivyaSession,
    workers: RemoteJobClient | None,
    output: Output,
    *,
    keep_going: bool,
    **options: Any,
) -> int:
    """Adds the rows to the journal and runs them. `options` are those of `Batch.run`."""
    downloads = options["download_to"] is not None
    with _stop_on_signal(batch, workers, output) as signals:
        models = await session.models.catalogue()
        try:
            planned = await batch.add(open_manifest(models=models), keep_going=keep_going)
        except InvalidRowsError as error:
            for row in error.result.invalid_rows:
                write_invalid_row(row, output)
            raise ConfigurationError(
                f"{pluralize(error.result.invalid, 'row')} cannot be bought as they are, so nothing was: "
                "correct them, or run the valid ones with --keep-going"
            ) from None
        write_plan(planned, output)
        if not signals:
            async with (
                batch_progress(output, batch) as on_progress,
                aclosing(batch.run(workers or session, on_progress=on_progress, **options)) as records,
            ):
                async for record in records:
                    if output.is_json:
                        output.write_result(flatten_record(record))
                    elif record.error is not None:
                        output.write_note(format_row_error(record))
    summary = await write_summary(batch.path, output, downloads=downloads)
    if batch.halted is not None:
        output.write_error(batch.halted)
        return exit_code_for(batch.halted)
    if any(is_open(state, downloads=downloads) for state in summary.counts):
        return ExitCode.INTERRUPTED if output.is_embedded else ExitCode.RESUME
    if summary.counts[JobState.FAILED] + summary.counts[JobState.DEAD]:
        return ExitCode.JOB_FAILED
    return ExitCode.USAGE if planned.conflicting else ExitCode.OK


@contextmanager
def _stop_on_signal(batch: Batch, workers: RemoteJobClient | None, output: Output) -> Iterator[list[int]]:
    """Lets the first Ctrl-C or SIGTERM stop the batch gracefully, the second end the command. Yields the signals."""
    task, received = asyncio.current_task(), []
    open_jobs = "the sandbox and its jobs end" if output.is_embedded else "open jobs continue at the service"

    def stop(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            if task is not None and number != getattr(signal, "SIGHUP", None):  # shells repeat that of a terminal
                task.cancel()
            return
        output.write_note(f"stopping: nothing more is bought; {open_jobs}. Once more to end at once")
        if workers is not None:
            workers.stop()
        batch.stop()

    with handle_signals(stop, "SIGINT"):
        yield received
