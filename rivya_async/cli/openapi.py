"""`rivya openapi`: what the service says of its own API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .exit_codes import ExitCode
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace

    from .jobs import JobList
    from .output import Output


async def run(arguments: Namespace, output: Output, _job_list: JobList) -> int:
    """Show the document."""
    opened = embedded(output, renders=False) if arguments.sandbox else service()
    async with opened as session:
        document = await session.openapi.retrieve()
    output.result(document, text=json.dumps(document, indent=2, ensure_ascii=False))
    return ExitCode.OK
