"""`rivya batch run`: a manifest in, files out."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .._core.errors import ConfigurationError
from .._engine.environment import Environment
from ..batch import Batch, InvalidRow, InvalidRowsError, Manifest, State
from ..batch.export import flatten_record
from ..batch.journal_reader import read_summary
from ..batch.report import load_template
from ..batch.states import is_open
from .batch_board import board_for
from .batch_render import bad_text, summary_json, summary_text, trouble_text
from .batch_report import tell_report
from .batch_target import harmless_target
from .conduct import made
from .exit_codes import ExitCode
from .failures import exit_code_of
from .hands import hands_of
from .render import credits_text, plural
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping

    from .._core.catalogue.model import Model
    from ..batch import PlanResult
    from .hands import Hands
    from .output import Output


async def run(arguments: Namespace, output: Output) -> int:
    """Plan the manifest, carry its rows, and say how the batch stands."""
    path = Path(arguments.manifest)
    manifest = partial(Manifest, path, fill=dict(map(_pair, arguments.set)))
    _look_at(manifest())
    if arguments.dry_run:
        opened = embedded(output, renders=False) if arguments.sandbox else service(needs_key=False)
        async with opened as session:
            models = await session.models.catalogue()
            return await _tried(manifest(models=models), models, output)
    journal = Path(arguments.journal) if arguments.journal else path.with_suffix(".journal")
    report = None if arguments.report is None else harmless_target(arguments.report, path, journal)
    if report is not None:
        load_template()  # without Jinja2 nothing is bought
    if arguments.sandbox and arguments.broker is not None:
        raise ConfigurationError("workers cannot reach a sandbox that lives in this command: start `rivya sandbox`")
    if arguments.output is not None and arguments.download_on == "here":
        arguments.output = made(arguments.output)
    async with Batch.open(journal, id=arguments.id) as batch:
        if arguments.sandbox:
            opened = embedded(output, renders=arguments.output is not None, hooks=batch.hooks)
        else:
            opened = service(hooks=batch.hooks)
        async with opened as session, hands_of(session, arguments, output) as hands:
            code = await _carried(batch, manifest, hands, arguments, output)
    if report is not None:
        await tell_report(journal, report, output)
    return code


def _look_at(manifest: Manifest) -> None:
    """Raise for a file that is no manifest before a journal is made for it. A pipe can be read only once."""
    if not manifest.path.is_fifo():
        next(iter(manifest), None)


# --- a dry run --------------------------------------------------------------------------------------------------------


@attrs.define
class _Estimate:
    """What a manifest would buy."""

    rows: int = 0
    credits: int = 0
    unpriced: int = 0
    bad: int = 0


async def _tried(manifest: Manifest, models: Mapping[str, Model], output: Output) -> int:
    found = await asyncio.to_thread(_estimated, manifest, models, output)
    told = {
        "rows": found.rows,
        "estimated_credits": found.credits,
        "rows_without_price": found.unpriced,
        "bad_rows": found.bad,
    }
    text = f"{plural(found.rows, 'row')}: about {credits_text(found.credits)}."
    if found.unpriced:
        text += f" The catalogue does not say what {plural(found.unpriced, 'row')} of them cost."
    if found.bad:
        text += f" {plural(found.bad, 'row')} cannot be bought as they are."
    output.result(told, text=f"{text} Nothing was bought.")
    return ExitCode.USAGE if found.bad else ExitCode.OK


def _estimated(manifest: Manifest, models: Mapping[str, Model], output: Output) -> _Estimate:
    found = _Estimate()
    for row in manifest:
        if isinstance(row, InvalidRow):
            found.bad += 1
            _tell_bad(row, output)
            continue
        price = models[row.model].estimate_credits(row.prompt, row.params)
        found.rows += 1
        found.credits += price or 0
        found.unpriced += price is None
    return found


def _tell_bad(row: InvalidRow, output: Output) -> None:
    if output.is_json:
        output.result({"line": row.line, "problems": list(row.problems)})
    else:
        output.note(bad_text(row))


# --- a run ------------------------------------------------------------------------------------------------------------


async def _carried(
    batch: Batch, manifest: Callable[..., Manifest], hands: Hands, arguments: Namespace, output: Output
) -> int:
    with _stopping(batch, hands, output) as asked:
        models = await hands.carrier.models.catalogue()
        try:
            planned = await batch.add(manifest(models=models), keep_going=arguments.keep_going)
        except InvalidRowsError as error:
            for bad in error.result.invalid_rows:
                _tell_bad(bad, output)
            raise ConfigurationError(
                f"{plural(error.result.invalid, 'row')} cannot be bought as they are, so nothing was: "
                "mend them, or run the good ones with --keep-going"
            ) from None
        _tell_plan(planned, output)
        records = batch.run(
            hands.carrier,
            max_in_flight=arguments.max_in_flight,
            download_to=arguments.output,
            save=hands.save,
            max_spend=arguments.max_spend,
            retry_failed=arguments.retry_failed,
        )
        if not asked:
            async with aclosing(records), board_for(output, batch):
                async for record in records:
                    if output.is_json:
                        output.result(flatten_record(record))
                    elif record.error is not None:
                        output.note(trouble_text(record))
    summary = await asyncio.to_thread(read_summary, batch.path, Environment().wall_time())
    output.result(summary_json(summary), text=summary_text(summary))
    if batch.halted is not None:
        output.failed(batch.halted)
        return exit_code_of(batch.halted)
    if any(is_open(state, downloads=arguments.output is not None) for state in summary.counts):
        return ExitCode.RESUME
    return ExitCode.JOB_FAILED if summary.counts[State.FAILED] + summary.counts[State.DEAD] else ExitCode.OK


def _tell_plan(planned: PlanResult, output: Output) -> None:
    for bad in planned.invalid_rows:
        _tell_bad(bad, output)
    for conflict in planned.conflicts:
        told = (
            f"line {conflict.line} ({conflict.identity}) is not what it was when its purchase was begun; it is "
            f"{conflict.state} as it was then, and is left so: give the new one a name of its own to buy it"
        )
        if output.is_json:
            output.result({"line": conflict.line, "conflict": conflict.identity, "state": str(conflict.state)})
        else:
            output.note(told)
    output.note(
        f"{planned.new:,} new rows, {planned.known:,} known, {planned.replaced:,} changed, "
        f"{planned.conflicting:,} conflicts, {planned.invalid:,} bad"
    )


@contextmanager
def _stopping(batch: Batch, hands: Hands, output: Output) -> Iterator[list[int]]:
    """The first Ctrl-C or SIGTERM stops the batch gently, the second ends the command. What was asked for."""
    loop, task, asked = asyncio.get_running_loop(), asyncio.current_task(), []

    def stop(number: int) -> None:
        asked.append(number)
        if len(asked) > 1 and task is not None:
            task.cancel()
        else:
            output.note(
                "stopping: nothing more is bought; what is open goes on at the service. Once more to end at once"
            )
            hands.stop()
            batch.stop()

    with suppress(NotImplementedError):  # there are no such handlers on Windows
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
    try:
        yield asked
    finally:
        with suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _pair(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise ConfigurationError(f"--set takes COLUMN=TEXT, such as model=z-image, not {text!r:.80}")
    return column, value
