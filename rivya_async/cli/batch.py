"""`rivya batch`: what can be done with a journal beside running it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError
from .._engine.environment import Environment
from ..batch import Batch, State
from ..batch.export import atomic_write, write_csv, write_json_lines, write_parquet
from ..batch.journal_reader import read_records, read_summary, require_journal
from . import batch_run
from .batch_render import summary_json, summary_text
from .batch_report import tell_report
from .batch_target import harmless_target
from .exit_codes import ExitCode

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable
    from typing import TextIO

    from ..batch import RowRecord
    from .jobs import Ledger
    from .output import Output


async def run(arguments: Namespace, output: Output, _: Ledger) -> int:
    """Do what `arguments.action` says."""
    match arguments.action:
        case "run":
            return await batch_run.run(arguments, output)
        case "status":
            return await _status(Path(arguments.journal), output)
        case "retry":
            return await _retry(arguments, output)
        case "report":
            return await _report(Path(arguments.journal), arguments.output, output)
        case _:
            return await _export(Path(arguments.journal), arguments, output)


async def _status(journal: Path, output: Output) -> int:
    summary = await asyncio.to_thread(read_summary, journal, Environment().wall_time())
    output.result(summary_json(summary), text=summary_text(summary))
    return ExitCode.OK


async def _retry(arguments: Namespace, output: Output) -> int:
    states = [State.FAILED, State.DEAD] if arguments.only is None else [State(arguments.only)]
    path = require_journal(Path(arguments.journal))
    async with Batch.open(path) as batch:
        count = await batch.retry(states)
    output.result({"rows": count}, text=f"{count:,} rows will be tried again: run the batch as before.")
    return ExitCode.OK


async def _report(journal: Path, to: str | None, output: Output) -> int:
    await tell_report(journal, harmless_target(to or str(journal.with_suffix(".html")), journal), output)
    return ExitCode.OK


async def _export(journal: Path, arguments: Namespace, output: Output) -> int:
    to = None if arguments.output is None else harmless_target(arguments.output, journal)
    if arguments.format == "parquet":
        if to is None:
            raise ConfigurationError("parquet is no text: give a file with -o")
        await asyncio.to_thread(_table, journal, to)
    else:
        write = write_csv if arguments.format == "csv" else write_json_lines
        await asyncio.to_thread(_written, write, journal, to, output)
    if to is not None:
        output.note(f"{to}")
    return ExitCode.OK


def _written(
    write: Callable[[Iterable[RowRecord], TextIO], None], journal: Path, to: Path | None, output: Output
) -> None:
    with closing(read_records(journal)) as records:
        if to is None:
            output.data(lambda target: write(records, target))
            return
        with atomic_write(to) as part, part.open("w", encoding="utf-8", newline="") as file:
            write(records, file)


def _table(journal: Path, to: Path) -> None:
    with closing(read_records(journal)) as records, atomic_write(to) as part:
        write_parquet(records, part)
