"""Errors for a shell: the exit code, the command to type next, the JSON object."""

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

EXIT_CODES: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], ExitCode], ...]] = (
    (GenerationFailed, ExitCode.JOB_FAILED),
    ((DeadlineExceeded, NotSentInTime), ExitCode.DEADLINE),
    ((ConfigurationError, ValidationFailed, NotFound, DownloadError), ExitCode.USAGE),
    ((JournalError, IdempotencyConflict, SessionConflict), ExitCode.USAGE),
    ((Unauthorized, ScopeDenied), ExitCode.AUTH),
    ((InsufficientCredits, SpendLimitReached), ExitCode.CREDITS),
    (RivyaError, ExitCode.SERVICE),
    (OSError, ExitCode.USAGE),
)
"""The first row that matches counts: `DeadlineExceeded` and `NotSentInTime` are also an `OSError`."""

JSON_FIELDS: Final = (
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
"""Attributes of an error that its JSON object holds if they are known."""


def exit_code_for(error: Exception) -> ExitCode:
    """Returns the exit code of a command that ends with this error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), ExitCode.SERVICE)


def suggested_command(error: Exception, again: str | None = None) -> str | None:
    """Returns the command to type next, or None where the error's message says all.

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
    """Returns the message, or the name of the class if there is none."""
    message = error.message if isinstance(error, RivyaError) else str(error)
    return message or type(error).__name__


def error_to_json(error: Exception, step: str | None = None) -> dict[str, Any]:
    """Returns the object under `error` in a line of JSON."""
    fields = {name: getattr(error, name, None) for name in JSON_FIELDS}
    return {
        "type": type(error).__name__,
        "message": error_message(error),
        "exit_code": int(exit_code_for(error)),
        **{name: value for name, value in fields.items() if value not in (None, "", 0)},
        **({"problems": list(map(attrs.asdict, problems))} if (problems := getattr(error, "problems", ())) else {}),
        **({"next": step} if step else {}),
    }
