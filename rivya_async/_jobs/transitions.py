"""States of a job, the transitions between them, and the consequences of an error. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum, StrEnum, auto
from typing import Final, TypedDict

from .._core.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    GenerationFailedError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    SessionClosedError,
    StreamInterruptedError,
)
from .._core.http.retry import is_transient
from .._core.public_module import set_public_module
from .._core.spend import proves_not_purchased


class JobState(StrEnum):
    """Progress of a job.

    `INTENT` is stored before a purchase is sent: after any end of the process the purchase is repeated under the same
    key. `DEAD` is an abandoned job, with its reason. `WITHDRAWN` is a job that was cancelled before its purchase.
    """

    PLANNED = "planned"
    """Nothing was sent yet."""
    INTENT = "intent"
    """The purchase is about to be sent, or was sent without an answer."""
    SUBMITTED = "submitted"
    """The job is bought and open."""
    SUCCEEDED = "succeeded"
    """The job has ended with a result."""
    FAILED = "failed"
    """The service has ended the job as failed."""
    DOWNLOADED = "downloaded"
    """The files of the result are saved."""
    DEAD = "dead"
    """The job was given up."""
    WITHDRAWN = "withdrawn"
    """The job was cancelled before its purchase."""


TRANSITIONS: Final[Mapping[JobState, Set[JobState]]] = {
    JobState.PLANNED: {JobState.INTENT, JobState.DEAD},
    JobState.INTENT: {JobState.PLANNED, JobState.SUBMITTED, JobState.DEAD},
    JobState.SUBMITTED: {JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD},
    JobState.SUCCEEDED: {JobState.DOWNLOADED, JobState.DEAD},
    JobState.FAILED: {JobState.PLANNED, JobState.INTENT},
    JobState.DOWNLOADED: set(),
    JobState.DEAD: {JobState.PLANNED, JobState.SUBMITTED},
    JobState.WITHDRAWN: set(),
}
"""The states that may follow each state.

An intent returns to `PLANNED` where the service rejected it or it was never sent. A failed or dead job returns there
when it is retried. A run that purchases failed jobs again leads from `FAILED` to `INTENT`.
"""

CONCURRENT_TRANSITIONS: Final[Mapping[JobState, Set[JobState]]] = {
    JobState.PLANNED: {JobState.SUBMITTED, JobState.WITHDRAWN},
    JobState.DEAD: {JobState.SUCCEEDED, JobState.FAILED},
    JobState.WITHDRAWN: {JobState.SUBMITTED},
}
"""The states that may follow besides, where several workers process one job and clients withdraw it.

The result of a purchase replaces the state that another worker has recorded meanwhile. A job that was purchased
elsewhere is `SUBMITTED` at once. A job that is enqueued again continues as `workers.JobRecord.revived_state` says.
"""

UNPURCHASED: Final = frozenset({JobState.PLANNED, JobState.INTENT})
"""States of a job without a known purchase."""

ENDED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DOWNLOADED, JobState.DEAD, JobState.WITHDRAWN})
"""States after which nothing is left to do but a download."""


def check_transition(old: JobState, new: JobState) -> JobState:
    """Returns the new state. Raises `ConfigurationError` where it cannot follow the old one."""
    if new not in TRANSITIONS[old]:
        raise ConfigurationError(f"a job that is {old} cannot become {new}")
    return new


def sources_of(state: JobState) -> Set[JobState]:
    """Returns the states that this one may follow where several workers process one job."""
    return {old for old in JobState if state in TRANSITIONS[old] or state in CONCURRENT_TRANSITIONS.get(old, ())}


def is_open(state: JobState, *, downloads: bool) -> bool:
    """Returns True where a run has work left: purchases and waits, and downloads if they are wanted."""
    return state not in ENDED or (downloads and state is JobState.SUCCEEDED)


# --- errors -----------------------------------------------------------------------------------------------------------

ACCOUNT_ERRORS: Final = (InsufficientCreditsError, AuthenticationError, PermissionDeniedError)
"""Errors of the account, which every other job would meet too."""


class JobAbandonedError(Exception):
    """The job cannot be processed further by any process. The name of the subclass is recorded."""


class JobInDoubtError(JobAbandonedError):
    """The job may have been purchased under a key that the service may have forgotten."""


class InvalidJobError(JobAbandonedError):
    """The job cannot be purchased as it is: its arguments or its references are invalid."""


class InvalidMessageError(JobAbandonedError):
    """The message of the job cannot be read, or has arguments that this version does not know."""


class InvalidRecordError(JobAbandonedError):
    """The record of the job cannot be read."""


class PoisonMessageError(JobAbandonedError):
    """The message of the job was delivered too often: it is assumed that the job ends the process."""


class NoFilesError(JobAbandonedError):
    """The job has succeeded, but the service names no file of it."""


class FilesNotSavedError(JobAbandonedError):
    """The job has succeeded, but its files could not be saved."""


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
    if isinstance(error, JobAbandonedError):
        return JobAction.ABANDON
    if state in {JobState.SUBMITTED, JobState.SUCCEEDED}:
        return JobAction.ABANDON if isinstance(error, NotFoundError) and not is_new else JobAction.KEEP
    if is_transient(error, may_have_acted=is_in_doubt) or isinstance(error, TimeoutError):
        return JobAction.RETRY
    if isinstance(error, SessionClosedError):
        return JobAction.RELEASE if state is JobState.INTENT and not is_in_doubt else JobAction.HALT
    if state is not JobState.INTENT or (is_in_doubt and not proves_not_purchased(error)):
        return JobAction.HALT
    return JobAction.RELEASE if isinstance(error, blocking_errors) else JobAction.ABANDON


class ErrorFields(TypedDict):
    """The members of a record that describe an error; all None where there is none."""

    error: str | None
    error_code: str | None
    error_type: str | None


def error_fields(error: Exception | None) -> ErrorFields:
    """Returns the description of an error.

    `error_code` is the code that the service gave: in an error response, a stream, or as the reason of a failed job.
    `error_type` is the name of the error's class.
    """
    if error is None:
        return {"error": None, "error_code": None, "error_type": None}
    name, text, code = type(error).__name__, str(error), None
    if isinstance(error, GenerationFailedError):
        reason = error.generation.error
        text, code = ("no reason given", None) if reason is None else (reason.message, reason.code)
    elif isinstance(error, APIStatusError | StreamInterruptedError):
        code = error.code
    return {"error": text or name, "error_code": code, "error_type": name}


set_public_module("rivya_async.batch", JobState)
