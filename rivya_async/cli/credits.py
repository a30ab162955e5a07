"""`rivya credits`: the balance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exit_codes import ExitCode
from .render import format_credits
from .session_factory import embedded_session, service_session

if TYPE_CHECKING:
    from argparse import Namespace

    from .jobs import Ledger
    from .output import Output


async def run(arguments: Namespace, output: Output, _ledger: Ledger) -> int:
    """Show what is left in the wallet."""
    opened = embedded_session(output, renders=False) if arguments.sandbox else service_session()
    async with opened as session:
        balance = await session.credits.retrieve()
    output.write_result(
        {"current_credits": balance.current_credits, **balance.extra}, text=format_credits(balance.current_credits)
    )
    return ExitCode.OK
