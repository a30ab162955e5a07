"""Exit codes of `rivya`. Scripts depend on this table."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Result of a command. With several jobs it is that of the first failed one in the order of the request."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Returns a member that also has its meaning."""
        member = int.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    OK = 0, "success"
    JOB_FAILED = 1, "the service ended a job as failed"
    USAGE = 2, "wrong usage, settings, model, params, id or file"
    AUTH = 3, "the API key is not valid, or lacks a scope"
    CREDITS = 4, "too few credits"
    DEADLINE = 5, "the timeout passed; a bought job continues: rivya wait TASK_ID"
    SERVICE = 6, "the service or the network failed"
    OUTPUT = 74, "the output could not be written; the work itself was done"
    RESUME = 75, "a batch has open rows: run the same command again, it goes on"
    INTERRUPTED = 130, "interrupted by Ctrl-C, SIGTERM or a lost connection (SIGHUP)"
    BROKEN_PIPE = 141, "the reader of the output closed it"


def format_exit_codes() -> str:
    """Returns the table for help texts."""
    return "\n".join(["Exit codes:", *(f"  {code:<4} {code.meaning}" for code in ExitCode)])
