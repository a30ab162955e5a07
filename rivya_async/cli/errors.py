"""Errors for a shell: the exit code, the command to type next, the JSON object."""

from __future__ import annotations

from typing import Any, Final

import attrs

from .._core import errors
from .._core.errors import RivyaError
from .exit_codes import ExitCode
from .render import shell_command

EXIT_CODES: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], ExitCode], ...]] = (
    (errors.GenerationFailedError, ExitCode.JOB_FAILED),
    ((errors.WaitTimeoutError, errors.SubmitTimeoutError), ExitCode.DEADLINE),
    ((errors.ConfigurationError, errors.InvalidRequestError, errors.BadRequestError), ExitCode.USAGE),
    ((errors.NotFoundError, errors.DownloadError), ExitCode.USAGE),
    ((errors.JournalError, errors.IdempotencyConflictError, errors.ChatSessionConflictError), ExitCode.USAGE),
    ((errors.AuthenticationError, errors.PermissionDeniedError), ExitCode.AUTH),
    ((errors.InsufficientCreditsError, errors.SpendLimitError), ExitCode.CREDITS),
    (RivyaError, ExitCode.SERVICE),
    (OSError, ExitCode.USAGE),
)
"""The first row that matches counts: `WaitTimeoutError` and `SubmitTimeoutError` are also an `OSError`."""

UNANSWERED: Final = (
    errors.OutcomeUnknownError,
    errors.InternalServerError,
    errors.RequestNotSentError,
    errors.RateLimitError,
)
"""Errors after which the same purchase may be sent again under its key."""

JSON_FIELDS: Final = (
    *("code", "status", "request_id", "retry_after"),
    *("idempotency_key", "task_id", "session_id", "text", "attempts"),
)
"""Attributes of an error that its JSON object holds if they are known."""


def exit_code_for(error: Exception) -> ExitCode:
    """Returns the exit code of a command that ends with this error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), ExitCode.SERVICE)


def suggested_command(error: Exception, again: str | None = None) -> str | None:
    """Returns the command to type next, or None where the error's message says all.

    `again` is the command that repeats the purchase or the download, if the error ended one.
    """
    if isinstance(error, RivyaError) and error.task_id and not isinstance(error, errors.GenerationFailedError):
        return shell_command("wait", [], error.task_id)
    if isinstance(error, errors.StreamInterruptedError) and error.session_id is not None:
        return shell_command("chat sessions", [], error.session_id)
    if again and isinstance(error, (*UNANSWERED, errors.DownloadError)):
        return again
    if isinstance(error, errors.InsufficientCreditsError):
        return "rivya credits"
    if isinstance(error, errors.ConfigurationError) and "API key: set" in error.message:
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
