"""What went wrong, for a shell: the exit code, the next thing to type, the JSON of an error."""

from __future__ import annotations

from typing import Any, Final

import attrs

from .._core.errors import (
    ConfigurationError,
    DeadlineExceeded,
    DownloadError,
    GenerationFailed,
    IdempotencyConflict,
    InsufficientCredits,
    JournalError,
    NotFound,
    NotSent,
    NotSentInTime,
    OutcomeUnknown,
    RateLimited,
    RivyaError,
    ScopeDenied,
    ServerError,
    SessionConflict,
    SpendLimitReached,
    StreamInterrupted,
    Unauthorized,
    ValidationFailed,
    WaitError,
)
from .exit_codes import ExitCode

CODES: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    (GenerationFailed, ExitCode.JOB_FAILED),
    (DeadlineExceeded, ExitCode.DEADLINE),
    (NotSentInTime, ExitCode.DEADLINE),
    (ConfigurationError, ExitCode.USAGE),
    (ValidationFailed, ExitCode.USAGE),
    (NotFound, ExitCode.USAGE),
    (DownloadError, ExitCode.USAGE),
    (JournalError, ExitCode.USAGE),
    (IdempotencyConflict, ExitCode.USAGE),
    (SessionConflict, ExitCode.USAGE),
    (Unauthorized, ExitCode.AUTH),
    (ScopeDenied, ExitCode.AUTH),
    (InsufficientCredits, ExitCode.CREDITS),
    (SpendLimitReached, ExitCode.CREDITS),
    (RivyaError, ExitCode.SERVICE),
    (OSError, ExitCode.USAGE),
)
"""The first row that fits counts: `DeadlineExceeded` and `NotSentInTime` are also an `OSError`."""

TOLD: Final = (
    "code",
    "status",
    "request_id",
    "retry_after",
    "idempotency_key",
    "task_id",
    "session_id",
    "text",
    "attempts",
)
"""Members of an error that its JSON shows where they are known."""


def exit_code_for(error: Exception) -> ExitCode:
    """The exit code that an error ends a command with."""
    return next((code for kind, code in CODES if isinstance(error, kind)), ExitCode.SERVICE)


def suggested_command(error: Exception, again: str | None = None) -> str | None:
    """What to type next, where a command can help. The error's own message speaks of everything else.

    `again` is the command that repeats the purchase, if the error ended one.
    """
    if isinstance(error, WaitError) and not isinstance(error, GenerationFailed):
        return f"rivya wait {error.task_id}"
    if isinstance(error, StreamInterrupted) and error.session_id is not None:
        return f"rivya chat sessions {error.session_id}"
    if again and isinstance(error, OutcomeUnknown | ServerError | NotSent | RateLimited):
        return again
    if isinstance(error, InsufficientCredits):
        return "rivya credits"
    if isinstance(error, ConfigurationError) and "API key: set" in error.message:
        return "or try the same command with --sandbox"
    return None


def error_message(error: Exception) -> str:
    """What happened, with the file's name where a file was the matter."""
    if isinstance(error, RivyaError):
        return error.message or type(error).__name__
    return str(error) or type(error).__name__


def error_to_json(error: Exception, step: str | None = None) -> dict[str, Any]:
    """The object that stands under `error` in a line of JSON."""
    told = {name: getattr(error, name, None) for name in TOLD}
    return {
        "type": type(error).__name__,
        "message": error_message(error),
        "exit_code": int(exit_code_for(error)),
        **{name: value for name, value in told.items() if value not in (None, "", 0)},
        **({"problems": list(map(attrs.asdict, problems))} if (problems := getattr(error, "problems", ())) else {}),
        **({"next": step} if step else {}),
    }
