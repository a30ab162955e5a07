"""The retry law: whether a failed request is sent again, and when. A function of values.

A purchase is never sent twice without the same key; a status poll is repeated through every transient fault.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import attrs
import backoff

from .. import assumptions
from ..errors import (
    APIDisabledError,
    APIStatusError,
    IdempotencyConflictError,
    InternalServerError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    RivyaError,
)

if TYPE_CHECKING:
    from ..policies import RetryPolicy

REQUEST_TIMEOUT: Final = 408
TOO_EARLY: Final = 425
FIRST_SERVER_ERROR: Final = 500
"""The first of the statuses by which the server says that the fault is its own."""


@attrs.frozen
class RetryAfterDelay:
    """Send it again after `delay` seconds."""

    delay: float


@attrs.frozen
class GiveUp:
    """Raise the error; `reason` says why it is not repeated."""

    reason: str


@attrs.frozen
class AttemptState:
    """What a call has gone through: sends so far, seconds since the first, and whether one of them may have acted."""

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
    in_haste: bool = True,
) -> RetryAfterDelay | GiveUp:
    """Whether to repeat after `error`.

    `repeatable`: a safe method, or a key is on it. `u`: a draw from [0, 1). Not `in_haste`: at the slowest pace, since
    the session has sent more retries than it should.
    """
    if not is_transient(error, may_have_acted=attempts.may_have_acted):
        return GiveUp("this error does not pass by waiting")
    if not repeatable and (attempts.may_have_acted or not isinstance(error, RequestNotSentError)):
        return GiveUp("it may have acted, and no key makes a repeat safe")
    if attempts.sent >= policy.max_attempts:
        return GiveUp(f"{attempts.sent} attempts were made")
    delay = retry_delay(policy, attempts.sent - 1, u, retry_after_of(error))
    if not in_haste:
        delay = max(delay, throttled_retry_delay(policy, u))
    if attempts.elapsed + delay > policy.max_elapsed:
        return GiveUp(f"{policy.max_elapsed:g} s have passed or would")
    return RetryAfterDelay(delay)


def is_transient(error: Exception, *, may_have_acted: bool = False) -> bool:
    """Whether the same request may well succeed later.

    An idempotency conflict is the caller's clash, unless an attempt of ours may have acted: then it is perhaps our own
    first send, still running.
    """
    if isinstance(error, RequestNotSentError | OutcomeUnknownError):
        return True
    if isinstance(error, IdempotencyConflictError):
        return may_have_acted
    if isinstance(error, RateLimitError | InternalServerError):
        return True
    return isinstance(error, APIStatusError) and _is_retryable_status(error.status)


def outcome_is_ambiguous(error: RivyaError) -> bool:
    """Whether the service may have acted although the request failed: sent without an answer, or a gateway's word."""
    if isinstance(error, OutcomeUnknownError):
        return True
    if not isinstance(error, APIStatusError) or error.status is None:
        return False
    return error.status >= FIRST_SERVER_ERROR or error.status == REQUEST_TIMEOUT


def definitely_not_processed(error: RivyaError) -> bool:
    """Whether the request was certainly not carried out. Any other answer of a server in trouble leaves a doubt."""
    if isinstance(error, RequestNotSentError | RateLimitError | APIDisabledError):
        return True
    return isinstance(error, APIStatusError) and error.status == TOO_EARLY


def retry_delay(policy: RetryPolicy, retry: int, u: float, retry_after: float | None = None) -> float:
    """Seconds before retry `retry` (from 0): the service's wish, else `u` of `backoff.expo`, both below the cap.

    With `u` uniform that is `backoff.full_jitter`, which throws dice of its own.
    """
    if retry_after is not None:
        return min(retry_after, policy.cap)
    return u * _backoff_ceiling(policy, retry)


def throttled_retry_delay(policy: RetryPolicy, u: float) -> float:
    """Seconds before a retry of a session that has sent too many: equal jitter below the cap."""
    return policy.cap * (0.5 + 0.5 * u)


def indicates_outage(error: RivyaError) -> bool:
    """Whether this may be a sign that the service is down: no answer, or a fault of its own."""
    if isinstance(error, RequestNotSentError | OutcomeUnknownError | InternalServerError):
        return True
    return isinstance(error, APIStatusError) and error.status is not None and error.status >= FIRST_SERVER_ERROR


def retry_after_of(error: RivyaError) -> float | None:
    """The service's wish in seconds, if the error carries one."""
    return error.retry_after if isinstance(error, APIStatusError) else None


def _is_retryable_status(status: int | None) -> bool:
    return status is not None and (status in assumptions.RETRYABLE_STATUSES or status >= FIRST_SERVER_ERROR)


def _backoff_ceiling(policy: RetryPolicy, retry: int) -> float:
    doublings = min(retry, 64)  # beyond that the cap has long been reached, and a float would overflow
    rising = backoff.expo(base=2.0, factor=policy.base)  # begins with a None, for `send`
    return min(policy.cap, next(islice(rising, 1 + doublings, None)))
