"""Entry point of `rivya`. Importing it imports neither click nor rich, which come with the extra `cli`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. `argv` excludes the program's name; the default is `sys.argv`."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        return _fail(f"rivya: {' and '.join(missing)} not found. Install the extra: pip install 'rivya-async[cli]'")
    from .streams import resilient_streams

    with resilient_streams():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(arguments: list[str]) -> int:
    import click

    from .app import app
    from .streams import write_failure

    try:
        code = app.main(arguments, "rivya", standalone_mode=False, windows_expand_args=False)
    except click.ClickException as error:
        if "--json" not in arguments:
            error.show()
            return ExitCode.USAGE
        import json  # loaded here, for `rivya --help` does not need it

        value = {"type": "UsageError", "message": error.format_message(), "exit_code": int(ExitCode.USAGE)}
        return _fail(json.dumps({"error": value}))
    except click.Abort:
        return _fail("rivya: interrupted; nothing was bought", ExitCode.INTERRUPTED)
    failure = write_failure(sys.stdout)
    if code or failure is None:
        return code or ExitCode.OK
    if isinstance(failure, BrokenPipeError):
        return ExitCode.BROKEN_PIPE
    return _fail(f"rivya: stdout cannot be written: {failure.strerror}", ExitCode.OUTPUT)


def _fail(message: str, code: ExitCode = ExitCode.USAGE) -> int:
    print(message, file=sys.stderr)  # noqa: T201 - the output of a command line is text
    return code
