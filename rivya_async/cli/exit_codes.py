"""What the exit code of `rivya` means. Scripts are written against this table."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """How a command ended."""

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
    ExitCode.OK: "everything was done",
    ExitCode.JOB_FAILED: "the service ended a job as failed",
    ExitCode.USAGE: "wrong usage, settings, model, params, id or file",
    ExitCode.AUTH: "the API key is not valid, or lacks a scope",
    ExitCode.CREDITS: "too few credits",
    ExitCode.DEADLINE: "the timeout passed; a job that was bought goes on: rivya wait TASK_ID",
    ExitCode.SERVICE: "the service or the network failed",
    ExitCode.RESUME: "a batch has rows that are open still: run the same command again",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
    ExitCode.BROKEN_PIPE: "whoever read the output went away",
}
"""With several jobs it is the code of the first of them, in the order they were asked for, that went wrong."""


def table() -> str:
    """The table as the help shows it."""
    return "\n".join(["exit codes:", *(f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items())])
