"""The consequences of errors, as a table."""

from __future__ import annotations

import attrs
import pytest

from rivya_async import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    Generation,
    GenerationFailedError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    SessionClosedError,
    SpendLimitError,
)
from rivya_async._core.types.generations import ErrorDetail
from rivya_async._jobs.transitions import (
    ACCOUNT_ERRORS,
    InvalidJobError,
    JobAction,
    JobInDoubtError,
    JobState,
    classify_error,
    error_fields,
)

FAILED = Generation(id="t", status="failed", model="m")
SESSION_ERRORS = (*ACCOUNT_ERRORS, SpendLimitError, ConfigurationError)


def action(state: JobState, error: Exception, *, is_in_doubt: bool = False, is_new: bool = False) -> JobAction:
    return classify_error(state, error, is_in_doubt=is_in_doubt, is_new=is_new, blocking_errors=SESSION_ERRORS)


@pytest.mark.parametrize(
    ("error", "certain", "in_doubt"),
    [
        (RequestNotSentError(), JobAction.RETRY, JobAction.RETRY),
        (OutcomeUnknownError(), JobAction.RETRY, JobAction.RETRY),
        (TimeoutError(), JobAction.RETRY, JobAction.RETRY),
        (RateLimitError(status=429), JobAction.RETRY, JobAction.RETRY),
        (InternalServerError(status=500), JobAction.RETRY, JobAction.RETRY),
        (IdempotencyConflictError(status=409), JobAction.ABANDON, JobAction.RETRY),
        (InsufficientCreditsError(status=402), JobAction.RELEASE, JobAction.RELEASE),
        (BadRequestError(status=422), JobAction.ABANDON, JobAction.ABANDON),
        (AuthenticationError(status=401), JobAction.RELEASE, JobAction.HALT),
        (SpendLimitError(), JobAction.RELEASE, JobAction.HALT),
        (ConfigurationError(), JobAction.RELEASE, JobAction.HALT),
        (SessionClosedError(), JobAction.RELEASE, JobAction.HALT),
        (NotFoundError(status=404), JobAction.ABANDON, JobAction.HALT),
        (ResponseDecodeError(), JobAction.ABANDON, JobAction.HALT),
        (JobInDoubtError("too old"), JobAction.ABANDON, JobAction.ABANDON),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_an_error_of_a_purchase(error: Exception, certain: JobAction, in_doubt: JobAction) -> None:
    assert action(JobState.INTENT, error) is certain
    assert action(JobState.INTENT, error, is_in_doubt=True) is in_doubt


@pytest.mark.parametrize("state", [JobState.PLANNED, JobState.FAILED])
def test_an_error_before_the_intent_concerns_every_job_unless_it_is_transient(state: JobState) -> None:
    assert action(state, RequestNotSentError()) is JobAction.RETRY
    assert action(state, SpendLimitError()) is JobAction.HALT
    assert action(state, OSError()) is JobAction.HALT
    assert action(state, InvalidJobError("no such model")) is JobAction.ABANDON


@pytest.mark.parametrize("state", [JobState.SUBMITTED, JobState.SUCCEEDED])
def test_a_purchased_job_is_kept_unless_the_service_has_forgotten_it(state: JobState) -> None:
    assert action(state, AuthenticationError(status=401)) is JobAction.KEEP
    assert action(state, OSError()) is JobAction.KEEP
    assert action(state, NotFoundError(status=404), is_new=True) is JobAction.KEEP
    assert action(state, NotFoundError(status=404)) is JobAction.ABANDON


@pytest.mark.parametrize(
    ("error", "code", "kind", "message"),
    [
        (None, None, None, None),
        (RateLimitError("slow down", status=429, code="rate_limited"), "rate_limited", "RateLimitError", "slow down"),
        (RequestNotSentError("no route"), None, "RequestNotSentError", "no route"),
        (OSError(), None, "OSError", "OSError"),
        (InvalidJobError("no such model"), None, "InvalidJobError", "no such model"),
        (
            GenerationFailedError(
                "long",
                task_id="t",
                last=attrs.evolve(FAILED, error=ErrorDetail("c", "m")),
            ),
            "c",
            "GenerationFailedError",
            "m",
        ),
        (
            GenerationFailedError("long", task_id="t", last=FAILED),
            None,
            "GenerationFailedError",
            "no reason given",
        ),
    ],
)
def test_a_record_describes_its_error(
    error: Exception | None, code: str | None, kind: str | None, message: str | None
) -> None:
    assert error_fields(error) == {"error": message, "error_code": code, "error_type": kind}
