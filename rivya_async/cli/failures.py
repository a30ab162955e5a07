"""What went wrong, for a shell: the exit code, the next thing to type, the JSON of an error."""

from __future__ import annotations

from typing import Any, Final

import attrs

from .._core.errors import (
    AuthenticationError,
    ChatSessionConflictError,
    ConfigurationError,
    DownloadError,
    GenerationFailedError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    JournalError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    RequestNotSentError,
    RivyaError,
    SpendLimitError,
    StreamInterruptedError,
    SubmitTimeoutError,
    ValidationFailed,
    WaitError,
    WaitTimeoutError,
)
from .exit_codes import ExitCode

CODES: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    (GenerationFailedError, ExitCode.JOB_FAILED),
    (WaitTimeoutError, ExitCode.DEADLINE),
    (SubmitTimeoutError, ExitCode.DEADLINE),
    (ConfigurationError, ExitCode.USAGE),
    (ValidationFailed, ExitCode.USAGE),
    (NotFoundError, ExitCode.USAGE),
    (DownloadError, ExitCode.USAGE),
    (JournalError, ExitCode.USAGE),
    (IdempotencyConflictError, ExitCode.USAGE),
    (ChatSessionConflictError, ExitCode.USAGE),
    (AuthenticationError, ExitCode.AUTH),
    (PermissionDeniedError, ExitCode.AUTH),
    (InsufficientCreditsError, ExitCode.CREDITS),
    (SpendLimitError, ExitCode.CREDITS),
    (RivyaError, ExitCode.SERVICE),
    (OSError, ExitCode.USAGE),
)
"""The first row that fits counts: `WaitTimeoutError` and `SubmitTimeoutError` are also an `OSError`."""

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


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code that an error ends a command with."""
    return next((code for kind, code in CODES if isinstance(error, kind)), ExitCode.SERVICE)


def next_step(error: Exception, again: str | None = None) -> str | None:
    """What to type next, where a command can help. The error's own message speaks of everything else.

    `again` is the command that repeats the purchase, if the error ended one.
    """
    if isinstance(error, WaitError) and not isinstance(error, GenerationFailedError):
        return f"rivya wait {error.task_id}"
    if isinstance(error, StreamInterruptedError) and error.session_id is not None:
        return f"rivya chat sessions {error.session_id}"
    if again and isinstance(error, OutcomeUnknownError | InternalServerError | RequestNotSentError | RateLimitError):
        return again
    if isinstance(error, InsufficientCreditsError):
        return "rivya credits"
    if isinstance(error, ConfigurationError) and "API key: set" in error.message:
        return "or try the same command with --sandbox"
    return None


def message_of(error: Exception) -> str:
    """What happened, with the file's name where a file was the matter."""
    if isinstance(error, RivyaError):
        return error.message or type(error).__name__
    return str(error) or type(error).__name__


def as_json(error: Exception, step: str | None = None) -> dict[str, Any]:
    """The object that stands under `error` in a line of JSON."""
    told = {name: getattr(error, name, None) for name in TOLD}
    return {
        "type": type(error).__name__,
        "message": message_of(error),
        "exit_code": int(exit_code_of(error)),
        **{name: value for name, value in told.items() if value not in (None, "", 0)},
        **({"problems": list(map(attrs.asdict, problems))} if (problems := getattr(error, "problems", ())) else {}),
        **({"next": step} if step else {}),
    }
