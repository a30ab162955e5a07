"""`rivya generate`: buy a job, or many alike, and wait for what comes of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from .._core.generation_request import GenerationRequest
from .conduct import conduct, exit_code
from .jobs import Job
from .target import embedded, service
from .values import checked_params

if TYPE_CHECKING:
    from argparse import Namespace

    from .jobs import Ledger
    from .output import Output
    from .target import Target


async def run(arguments: Namespace, output: Output, ledger: Ledger) -> int:
    """Check the job against the catalogue, then buy it as often as was asked."""
    ledger.folder = arguments.output
    opened = embedded(output, renders=arguments.output is not None) if arguments.sandbox else service()
    async with opened as target:
        ledger.jobs = await _jobs(target, arguments)
        await conduct(target, ledger, output, timeout=arguments.timeout)
    return exit_code(ledger)


async def _jobs(target: Target, arguments: Namespace) -> list[Job]:
    model = await target.session.models.retrieve(arguments.model)
    params = checked_params(model, arguments.param)
    return [
        Job(
            number,
            GenerationRequest(
                model.id,
                arguments.prompt,
                params=params,
                idempotency_key=key_of(arguments.key, number, arguments.number),
            ),
        )
        for number in range(1, arguments.number + 1)
    ]


def key_of(given: str | None, number: int, count: int) -> str:
    """The idempotency key of one of `count` jobs: the one given, numbered if there are several, or a new one.

    We mint it here, not in the session, so that we can name it when we are interrupted before the answer.

    >>> key_of("order-42", 2, 3)
    'order-42-2'
    """
    if given is None:
        return str(uuid.uuid4())
    return given if count == 1 else f"{given}-{number}"
