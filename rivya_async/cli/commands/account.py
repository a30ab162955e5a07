"""`rivya credits` and `rivya openapi`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..command import command, sandbox_option
from ..render import format_credits, record_to_json

if TYPE_CHECKING:
    from ..run import CommandContext


@command("credits")
@sandbox_option
async def credits(context: CommandContext) -> None:  # noqa: A001 - the name of the command
    """Show the credit balance.

    --json: {"current_credits": 1234}

    Examples:
      rivya credits
      rivya credits --json
    """
    async with context.open_session() as session:
        balance = await session.credits.retrieve()
    context.output.write_result(record_to_json(balance), text=format_credits(balance.current_credits))


@command("openapi")
@sandbox_option
async def openapi(context: CommandContext) -> None:
    """Show the OpenAPI document of the service.

    --json: the document in one line.

    Examples:
      rivya openapi > rivya.json
      rivya openapi --sandbox
    """
    async with context.open_session() as session:
        document = await session.openapi.retrieve()
    context.output.write_result(document, text=json.dumps(document, indent=2, ensure_ascii=False))
