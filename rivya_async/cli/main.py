"""The entry point of `rivya`. Importing it is light: no aiohttp, no records, no event loop until a command runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .exit_codes import ExitCode
from .parser import build_parser

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `argv` is without the program's name; `sys.argv` if left out."""
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.command == "worker" and not arguments.health:
            from .worker import serve

            return serve(arguments)
        from .run import run

        return run(arguments)
    except KeyboardInterrupt:
        print("rivya: interrupted; nothing was bought", file=sys.stderr)  # noqa: T201 - what we write is text
        return ExitCode.INTERRUPTED
