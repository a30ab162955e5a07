"""Exit codes of `rivya`. Scripts depend on this table."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Result of a command."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    AUTH = 3
    CREDITS = 4
    DEADLINE = 5
    SERVICE = 6
    RESUME = 75
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "success",
    ExitCode.JOB_FAILED: "the service ended a job as failed",
    ExitCode.USAGE: "wrong usage, settings, model, params, id or file",
    ExitCode.AUTH: "the API key is not valid, or lacks a scope",
    ExitCode.CREDITS: "too few credits",
    ExitCode.DEADLINE: "the timeout passed; a bought job continues: rivya wait TASK_ID",
    ExitCode.SERVICE: "the service or the network failed",
    ExitCode.RESUME: "a batch has open rows: run the same command again",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
    ExitCode.BROKEN_PIPE: "the reader of the output closed it",
}
"""With several jobs, the code is that of the first failed one in the order of the request."""


def format_exit_codes() -> str:
    """Returns the table for help texts."""
    return "\n".join(["Exit codes:", *(f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items())])
