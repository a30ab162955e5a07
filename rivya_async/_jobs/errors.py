"""Consequences of an error for a job. Pure: functions of values."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from .._core.errors import GenerationFailed, InsufficientCredits, NotFound, ScopeDenied, Unauthorized
from .._core.retry import is_transient
from .._core.spend import settles_the_doubt
from .states import JobState

IN_DOUBT: Final = "in_doubt"
"""Error code of a job that may have been purchased under a key that the service may have forgotten."""

ACCOUNT_ERRORS: Final = (InsufficientCredits, Unauthorized, ScopeDenied)
"""Errors of the account, which every other job would meet too."""


class JobAbandoned(Exception):
    """The job cannot be processed further by any process. `code` is the error code that is recorded."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class JobAction(Enum):
    """Consequence of an error for the job that met it."""

    RETRY = auto()
    """The error is transient: the step may succeed later."""
    RELEASE = auto()
    """Nothing was bought, which is certain, and every other job would meet the error: the job is planned again."""
    HALT = auto()
    """The job stays as it is: its outcome is unknown, or every other job would meet the error."""
    KEEP = auto()
    """The purchased job stays as it is. Another process or run continues it."""
    ABANDON = auto()
    """The job is dead."""


def classify_error(
    state: JobState,
    error: Exception,
    *,
    is_in_doubt: bool,
    is_new: bool,
    blocking_errors: tuple[type[Exception], ...] = ACCOUNT_ERRORS,
) -> JobAction:
    """Returns the consequence of an error for a job in this state.

    `is_in_doubt`: the job may have been purchased already. `is_new`: it was purchased moments ago, so a replica of the
    service may not know it yet. `blocking_errors` are those that every other job would meet too.
    """
    if isinstance(error, JobAbandoned):
        return JobAction.ABANDON
    if state in {JobState.SUBMITTED, JobState.SUCCEEDED}:
        return JobAction.ABANDON if isinstance(error, NotFound) and not is_new else JobAction.KEEP
    if is_transient(error, may_have_acted=is_in_doubt) or isinstance(error, TimeoutError):
        return JobAction.RETRY
    if state is not JobState.INTENT or (is_in_doubt and not settles_the_doubt(error)):
        return JobAction.HALT
    return JobAction.RELEASE if isinstance(error, blocking_errors) else JobAction.ABANDON


def error_fields(error: Exception | None) -> dict[str, str | None]:
    """Returns the members of a record that describe an error; all None where there is none."""
    if error is None:
        return {"error": None, "error_code": None}
    if isinstance(error, GenerationFailed):
        reason = error.generation.error
        return {
            "error": "no reason given" if reason is None else reason.message,
            "error_code": "unknown" if reason is None else reason.code,
        }
    code = getattr(error, "code", None) or type(error).__name__
    return {"error": str(error) or type(error).__name__, "error_code": str(code)}
