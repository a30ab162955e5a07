"""`rivya openapi`: what the service says of its own API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .exit_codes import ExitCode
from .session_factory import embedded_session, service_session

if TYPE_CHECKING:
    from argparse import Namespace

    from .jobs import Ledger
    from .output import Output


async def run(arguments: Namespace, output: Output, _ledger: Ledger) -> int:
    """Show the document."""
    opened = embedded_session(output, renders=False) if arguments.sandbox else service_session()
    async with opened as session:
        document = await session.openapi.retrieve()
    output.write_result(document, text=json.dumps(document, indent=2, ensure_ascii=False))
    return ExitCode.OK
