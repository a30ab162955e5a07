"""`rivya generate`, `wait` and `download`: jobs and their files."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from ..._core.catalogue.model_param import REFERENCES_PARAM
from ..._core.errors import ConfigurationError, RivyaError
from ..._core.generation_request import GenerationRequest
from ...resources.downloads import is_url
from ..command import command
from ..exit_codes import ExitCode
from ..jobs import Job
from ..options import (
    OUTPUT_HELP,
    PATH,
    POSITIVE,
    TEXT,
    KeyValue,
    exists_option,
    key_option,
    output_option,
    price_file_option,
    timeout_option,
)
from ..progress import transfer_progress
from ..render import format_credits, pluralize
from ..run_jobs import download_target, run_jobs
from ..session_factory import price_file as use_price_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..._core.catalogue.model import Model
    from ..._core.catalogue.pricing import PriceEstimate
    from ..._core.types.generations import Amount
    from ..._engine.transfers.partial_file import Exists
    from ...session import RivyaSession
    from ..output import Output
    from ..run import CommandContext

PARAM: Final = KeyValue("KEY=VALUE", "aspect_ratio=16:9")

TEXT_TYPES: Final = frozenset({"select", "number", "text", ""})
"""Types of params whose values are typed as text; `Model.coerce` makes numbers of some. Other values are JSON."""


@command("generate")
@click.argument("model")
@click.argument("prompt", type=TEXT, required=False)
@click.option("-p", "--param", "pairs", type=PARAM, multiple=True, help="A param of the model (repeatable).")
@click.option("--reference", "references", type=PATH, multiple=True, help="A file, uploaded once (repeatable).")
@click.option("--no-check", is_flag=True, help="Do not check the job against the catalogue.")
@click.option("--dry-run", is_flag=True, help="Check the job and show its cost, but buy nothing.")
@click.option("-n", "--number", metavar="N", type=POSITIVE, default=1, help="Buy N such jobs at once.")
@price_file_option
@output_option
@exists_option
@timeout_option
@key_option
async def generate(
    context: CommandContext,
    *,
    model: str,
    prompt: str | None,
    pairs: tuple[tuple[str, str], ...],
    references: tuple[str, ...],
    no_check: bool,
    dry_run: bool,
    number: int,
    price_file: Path | None,
    target: str | None,
    exists: Exists | None,
    timeout: float | None,
    key: str | None,
) -> int:
    """Buy a job, or several alike, and wait for the results.

    MODEL is the id of a model: rivya models lists them. PROMPT says what to make.
    The prompt - is read from stdin, the prompt @FILE from that file.
    A job that does not fit the catalogue is rejected, with every problem, before anything is bought.
    The estimated cost is shown first.
    With -n the idempotency key of --key becomes KEY-1, KEY-2, ...
    Ctrl-C leaves bought jobs running and shows the command that comes back to them.
    --json: a line for each job as it ends, with its files if they were downloaded.

    Examples:
      rivya generate z-image "A red kite over the dunes" -p aspect_ratio=16:9 -o out
      rivya generate z-image "A cat" -n 4 --json --sandbox
      rivya generate kling-3-0 "A red kite" -p duration=10 --dry-run
      rivya generate nano-banana-2 "The same at night" --reference kite.png
      rivya generate elevenlabs-dialogue-v3 -p 'dialogue=[{"voice": "Adam", "text": "Hello."}]'
    """
    output, jobs = context.output, context.jobs
    jobs.target, jobs.exists = target, exists
    if dry_run and no_check:
        raise ConfigurationError("--dry-run checks the job: leave out --no-check")
    async with (
        context.open_session(needs_key=not dry_run, renders=target is not None and not dry_run) as session,
        use_price_file(session, price_file),
    ):
        found = await _find_model(session, model, output, is_required=not no_check)
        params = parse_params(found, pairs)
        price = None if found is None else found.estimate_credits(prompt, params, references)
        if found is not None and price is not None and not no_check:
            found.check(prompt, params, references)
            if dry_run:
                for path in references:
                    await session.files.check(path, model=found.id)
                output.write_result(
                    estimate_to_json(found, price, number),
                    text=f"{format_estimate(found, price, number)} Nothing was bought.",
                )
                return ExitCode.OK
            output.write_note(format_estimate(found, price, number))
        jobs.jobs = [
            Job(
                each,
                GenerationRequest(
                    model, prompt, params=params, references=references, idempotency_key=job_key(key, each, number)
                ),
                is_checked=not no_check,
                estimated_credits=None if price is None else price.credits,
            )
            for each in range(1, number + 1)
        ]
        return await run_jobs(session, jobs, output, timeout=timeout)


async def _find_model(session: RivyaSession, model_id: str, output: Output, *, is_required: bool) -> Model | None:
    """Returns the model. For an unchecked job it only types the params, so that it may be missing."""
    try:
        return await session.models.retrieve(model_id)
    except ConfigurationError:
        raise
    except RivyaError as error:
        if is_required:
            raise
        output.write_note(f"warning: {error.message}")  # names the nearest model
        return None


def parse_params(model: Model | None, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Returns the params of a job with the types of the model's catalogue entry; as text where it has none.

    Raises `ConfigurationError` for a value that should be JSON and is not. `Model.check` checks the values.
    """
    params = {key: _parse_value(model, key, text) for key, text in pairs}
    return params if model is None else model.coerce(params)


def _parse_value(model: Model | None, key: str, text: str) -> Any:
    param = None if model is None else model.param(key)
    if key != REFERENCES_PARAM and (param is None or param.type in TEXT_TYPES):
        return text
    try:
        return json.loads(text.lower() if text.lower() in {"true", "false", "null"} else text)
    except ValueError as error:
        raise ConfigurationError(f"{key} must be JSON: {error}") from None


def estimate_to_json(model: Model, price: PriceEstimate, count: int) -> dict[str, Any]:
    """Returns the estimate of so many jobs of this model as a JSON object."""
    value = {"model": model.id, "jobs": count, "estimated_credits": _times(price.credits, count)}
    return {**value, "max_credits": _times(price.max_credits, count), "kind": price.kind, "source": price.source}


def format_estimate(model: Model, price: PriceEstimate, count: int) -> str:
    """Returns the cost of so many jobs of this model, as far as it is known."""
    jobs = f"{pluralize(count, 'job')} of {model.id}"
    total = attrs.evolve(price, credits=_times(price.credits, count), max_credits=_times(price.max_credits, count))
    if price.credits is None and price.max_credits is None:
        least = "" if model.base_credits is None else f", from {format_credits(model.base_credits)} each"
        return f"{jobs}: the catalogue does not say what it costs ({model.billing_type or 'no price'}{least})."
    reason = f" ({price.source})" if price.kind == "lower_bound" else ""
    return f"{jobs}: {total if reason or price.credits is None else f'about {total}'}{reason}."


def _times(amount: Amount | None, count: int) -> Amount | None:
    return None if amount is None else amount * count


def job_key(given: str | None, number: int, count: int) -> str:
    """Returns the idempotency key of one of `count` jobs: the given one, numbered if there are several, or a new one.

    The session could mint it too, but an interrupted command has to show the key before the response arrives.

    >>> job_key("order-42", 2, 3)
    'order-42-2'
    """
    if given is None:
        return str(uuid.uuid4())
    return given if count == 1 else f"{given}-{number}"


@command("wait")
@click.argument("task_ids", metavar="TASK_ID...", nargs=-1, required=True)
@output_option
@exists_option
@timeout_option
async def wait(
    context: CommandContext,
    *,
    task_ids: tuple[str, ...],
    target: str | None,
    exists: Exists | None,
    timeout: float | None,
) -> int:
    """Wait for jobs that were bought before.

    An embedded sandbox (--sandbox) starts empty and knows no task id.
    --json: a line for each job as it ends.

    Examples:
      rivya wait task_ab12 -o out
      rivya wait task_ab12 task_cd34 --timeout 600
    """
    jobs = context.jobs
    jobs.target, jobs.exists = target, exists
    jobs.jobs = [Job(number, task_id=task_id) for number, task_id in enumerate(dict.fromkeys(task_ids), 1)]
    async with context.open_session(renders=True) as session:
        return await run_jobs(session, jobs, context.output, timeout=timeout)


@command("download")
@click.argument("sources", metavar="TASK_ID|URL...", nargs=-1, required=True)
@click.option("-o", "--output", "target", metavar="PATH", type=PATH, default=".", help=OUTPUT_HELP)
@click.option(
    "--name", metavar="TEMPLATE", help="Made of {task_id}, {model}, {index}, {ext}.  [default: {task_id}{ext}]"
)
@exists_option
@click.option("--max-bytes", metavar="N", type=POSITIVE, help="Reject files that are longer.")
async def download(
    context: CommandContext, *, sources: tuple[str, ...], target: str, name: str | None, **options: Any
) -> int:
    """Save the files of finished jobs, or of links.

    An interrupted download resumes where it stopped, also in a later command. An expired link is fetched again.
    The API key is sent to no host but the service's own.
    --json: a line for each: {"id": "...", "files": [...]}, with "url" in the place of "id" for a link.

    Examples:
      rivya download task_ab12 -o out
      rivya download task_ab12 task_cd34 -o out --name '{model}-{task_id}-{index}{ext}'
    """
    distinct = list(dict.fromkeys(sources))
    if name is not None and len(distinct) > 1 and "{task_id" not in name:
        raise ConfigurationError("put {task_id} into --name, so that the files of each have their own")
    place = target if name is not None else download_target(target, len(distinct))
    async with context.open_session(needs_key=not all(map(is_url, distinct)), renders=True) as session:
        with transfer_progress(context.output) as add_bar:

            async def save(source: str) -> tuple[str, list[str]]:
                paths = await session.download(source, place, name=name, on_progress=add_bar(source), **options)
                return source, [str(path) for path in paths]

            def write(result: tuple[str, list[str]]) -> None:
                source, files = result
                value = {"url" if is_url(source) else "id": source, "files": files}
                context.output.write_result(value, text="\n".join(files))

            return await context.output.write_results(map(save, distinct), write)
