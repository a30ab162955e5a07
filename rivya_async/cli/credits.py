"""`rivya credits`: the balance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exit_codes import ExitCode
from .render import credits_text
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace

    from .jobs import JobList
    from .output import Output


async def run(arguments: Namespace, output: Output, _job_list: JobList) -> int:
    """Show what is left in the wallet."""
    opened = embedded(output, renders=False) if arguments.sandbox else service()
    async with opened as session:
        balance = await session.credits.retrieve()
    output.result(
        {"current_credits": balance.current_credits, **balance.extra}, text=credits_text(balance.current_credits)
    )
    return ExitCode.OK
