"""`rivya generate`: buy a job, or many alike, and wait for what comes of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError, RivyaError
from .._core.generation_request import GenerationRequest
from .exit_codes import ExitCode
from .jobs import Job
from .render import estimate_text
from .run_jobs import run_jobs
from .target import embedded, service
from .values import typed_params

if TYPE_CHECKING:
    from argparse import Namespace

    from .._core.model import Model
    from ..session import RivyaSession
    from .jobs import JobList
    from .output import Output


async def run(arguments: Namespace, output: Output, job_list: JobList) -> int:
    """Check the job against the catalogue, say what it will cost, then buy it as often as was asked."""
    job_list.folder = arguments.output
    if arguments.dry_run and not arguments.check:
        raise ConfigurationError("--dry-run checks the job: leave out --no-check")
    renders = arguments.output is not None and not arguments.dry_run
    needs_key = not arguments.dry_run
    opened = embedded(output, renders=renders) if arguments.sandbox else service(needs_key=needs_key)
    async with opened as session:
        model = await _model(session, arguments)
        params = typed_params(model, arguments.param)
        price = None if model is None else model.estimate_credits(arguments.prompt, params)
        if arguments.check and model is not None:
            model.check(arguments.prompt, params, arguments.reference)
            if arguments.dry_run:
                return await _told(session, arguments, output, model, price)
            output.note(estimate_text(model, price, arguments.number))
        job_list.jobs = [
            Job(
                number,
                GenerationRequest(
                    arguments.model,
                    arguments.prompt,
                    params=params,
                    references=arguments.reference,
                    idempotency_key=key_of(arguments.key, number, arguments.number),
                ),
                is_checked=arguments.check,
                estimated_credits=price,
            )
            for number in range(1, arguments.number + 1)
        ]
        return await run_jobs(session, job_list, output, timeout=arguments.timeout)


async def _told(session: RivyaSession, arguments: Namespace, output: Output, model: Model, price: int | None) -> int:
    """What buying it would cost, once its files are known to be such as the model takes."""
    for path in arguments.reference:
        await session.files.check(path, model=model.id)
    total = None if price is None else price * arguments.number
    told = {"model": model.id, "jobs": arguments.number, "estimated_credits": total}
    output.result(told, text=f"{estimate_text(model, price, arguments.number)} Nothing was bought.")
    return ExitCode.OK


async def _model(session: RivyaSession, arguments: Namespace) -> Model | None:
    """The model of the job. Unchecked it only types the params: then a catalogue that says nothing is no obstacle."""
    try:
        return await session.models.retrieve(arguments.model)
    except ConfigurationError:
        raise
    except RivyaError:
        if arguments.check:
            raise
        return None


def key_of(given: str | None, number: int, count: int) -> str:
    """The idempotency key of one of `count` jobs: the one given, numbered if there are several, or a new one.

    We mint it here, not in the session, so that we can name it when we are interrupted before the answer.

    >>> key_of("order-42", 2, 3)
    'order-42-2'
    """
    if given is None:
        return str(uuid.uuid4())
    return given if count == 1 else f"{given}-{number}"
