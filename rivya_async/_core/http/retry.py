"""Retry decisions as functions of values: whether a failed request is sent again, and after which delay.

A purchase is never sent twice without the same key; a status poll is repeated after every transient error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .. import assumptions
from ..errors import (
    APIDisabledError,
    APIStatusError,
    IdempotencyConflictError,
    InternalServerError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    SessionClosedError,
)

if TYPE_CHECKING:
    from ..policies import RetryPolicy

REQUEST_TIMEOUT: Final = 408
"""HTTP status of a request that the server has not received in time."""

TOO_EARLY: Final = 425
"""HTTP status of a request that the server has not processed, because it might be a replay."""

REFUSED_STATUSES: Final = frozenset({400, 413, 415, 422})
"""HTTP statuses of a request that was refused for its content, by the API or by a gateway."""

FIRST_CLIENT_ERROR: Final = 400
"""Lowest HTTP status of an error of the client."""

FIRST_SERVER_ERROR: Final = 500
"""Lowest HTTP status of a server error."""


@attrs.frozen
class RetryAfterDelay:
    """Decision to send the request again after `delay` seconds."""

    delay: float


@attrs.frozen
class GiveUp:
    """Decision to raise the error, with the reason."""

    reason: str


@attrs.frozen
class AttemptState:
    """Attempts of a call so far: requests sent, seconds since the first, and whether one may have been processed."""

    sent: int
    elapsed: float = 0.0
    may_have_acted: bool = False


def decide_retry(
    policy: RetryPolicy,
    error: RivyaError,
    attempts: AttemptState,
    *,
    repeatable: bool,
    u: float,
    has_retry_token: bool = True,
) -> RetryAfterDelay | GiveUp:
    """Returns the decision after `error`.

    `repeatable` is true for a safe method or a request with a key. `u` is a random number from [0, 1). Without a
    retry token the session has exceeded its retry budget, and waits as long as the policy allows.
    """
    if not is_transient(error, may_have_acted=attempts.may_have_acted):
        return GiveUp("this error is not transient")
    if not repeatable and (attempts.may_have_acted or not isinstance(error, RequestNotSentError)):
        return GiveUp("the request may have been processed, and no key makes a repeat safe")
    if attempts.sent >= policy.max_attempts:
        return GiveUp(f"{attempts.sent} attempts were made")
    delay = retry_delay(policy, attempts.sent - 1, u, retry_after_of(error))
    if not has_retry_token:
        delay = max(delay, throttled_retry_delay(policy, u))
    if attempts.elapsed + delay > policy.max_elapsed:
        return GiveUp(f"the next attempt would begin after {policy.max_elapsed:g} s")
    return RetryAfterDelay(delay)


def is_transient(error: Exception, *, may_have_acted: bool = False) -> bool:
    """Returns True if the same request may succeed later.

    An idempotency conflict is permanent, unless an earlier attempt may have been processed: then the conflicting
    request may be that attempt.
    """
    if isinstance(error, IdempotencyConflictError):
        return may_have_acted
    if isinstance(error, RequestNotSentError | OutcomeUnknownError | RateLimitError | InternalServerError):
        return True
    if not isinstance(error, APIStatusError) or error.status is None:
        return False
    return error.status in assumptions.RETRYABLE_STATUSES or error.status >= FIRST_SERVER_ERROR


def poll_error_is_transient(error: RivyaError) -> bool:
    """Returns True if the poll of a job may succeed later.

    Includes every response that is not from the API: a gateway may answer a poll with any status and page.
    """
    if isinstance(error, APIStatusError) and not error.has_envelope:
        return True
    return isinstance(error, ResponseDecodeError) or is_transient(error)


def purchase_outcome_is_unknown(error: RivyaError) -> bool:
    """Returns True if a purchase with this response may have been made, because the API has perhaps not answered.

    A refusal is an error of the API, a JSON error of another shape, or a status by which no server acts.
    """
    if isinstance(error, ResponseDecodeError):
        return True
    if not isinstance(error, APIStatusError) or error.has_envelope or error.status is None or is_transient(error):
        return False
    is_client_error = FIRST_CLIENT_ERROR <= error.status < FIRST_SERVER_ERROR
    return not (error.status in REFUSED_STATUSES or (error.is_refusal and is_client_error))


def outcome_is_ambiguous(error: RivyaError) -> bool:
    """Returns True if the failed request may have been processed: no response, or the response of a gateway."""
    if isinstance(error, OutcomeUnknownError):
        return True
    if not isinstance(error, APIStatusError) or error.status is None:
        return False
    return error.status >= FIRST_SERVER_ERROR or error.status == REQUEST_TIMEOUT


def definitely_not_processed(error: RivyaError) -> bool:
    """Returns True if the request was certainly not processed."""
    if isinstance(error, RequestNotSentError | SessionClosedError | RateLimitError | APIDisabledError):
        return True
    return isinstance(error, APIStatusError) and error.status == TOO_EARLY


def retry_delay(policy: RetryPolicy, retry: int, u: float, retry_after: float | None = None) -> float:
    """Returns the seconds before a retry (counted from 0): the `Retry-After`, else full jitter, both up to the cap."""
    if retry_after is not None:
        return min(retry_after, policy.cap)
    ceilings = policy.ceilings
    return u * (ceilings[retry] if retry < len(ceilings) else ceilings[-1])


def throttled_retry_delay(policy: RetryPolicy, u: float) -> float:
    """Returns the seconds before a retry beyond the retry budget: equal jitter below the cap."""
    return policy.cap * (0.5 + 0.5 * u)


def indicates_outage(error: RivyaError) -> bool:
    """Returns True if the service may be down: no response, or a server error."""
    if isinstance(error, RequestNotSentError | OutcomeUnknownError | InternalServerError):
        return True
    return isinstance(error, APIStatusError) and error.status is not None and error.status >= FIRST_SERVER_ERROR


def retry_after_of(error: RivyaError) -> float | None:
    """Returns the `Retry-After` of an error response in seconds, if any."""
    return error.retry_after if isinstance(error, APIStatusError) else None
