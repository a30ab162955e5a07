"""The retry law: whether a failed request is sent again, and when. A function of values.

A purchase is never sent twice without the same key; a status poll is repeated through every transient fault.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import attrs
import backoff

from . import assumed
from .errors import (
    Answered,
    ApiDisabled,
    IdempotencyConflict,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RivyaError,
    ServerError,
)

if TYPE_CHECKING:
    from .policies import RetryPolicy

REQUEST_TIMEOUT: Final = 408
TOO_EARLY: Final = 425
SERVER_FAULT: Final = 500
"""The first of the statuses by which the server says that the fault is its own."""


@attrs.frozen
class Again:
    """Send it again after `delay` seconds."""

    delay: float


@attrs.frozen
class Stop:
    """Raise the error; `reason` says why it is not repeated."""

    reason: str


@attrs.frozen
class Attempts:
    """What a call has gone through: sends so far, seconds since the first, and whether one of them may have acted."""

    sent: int
    elapsed: float = 0.0
    may_have_acted: bool = False


def decide(
    policy: RetryPolicy,
    error: RivyaError,
    attempts: Attempts,
    *,
    repeatable: bool,
    u: float,
    in_haste: bool = True,
) -> Again | Stop:
    """Whether to repeat after `error`.

    `repeatable`: a safe method, or a key is on it. `u`: a draw from [0, 1). Not `in_haste`: at the slowest pace, since
    the session has sent more retries than it should.
    """
    if not is_transient(error, may_have_acted=attempts.may_have_acted):
        return Stop("this error does not pass by waiting")
    if not repeatable and (attempts.may_have_acted or not isinstance(error, NotSent)):
        return Stop("it may have acted, and no key makes a repeat safe")
    if attempts.sent >= policy.max_attempts:
        return Stop(f"{attempts.sent} attempts were made")
    delay = delay_before(policy, attempts.sent - 1, u, retry_after_of(error))
    if not in_haste:
        delay = max(delay, slow_delay(policy, u))
    if attempts.elapsed + delay > policy.max_elapsed:
        return Stop(f"{policy.max_elapsed:g} s have passed or would")
    return Again(delay)


def is_transient(error: Exception, *, may_have_acted: bool = False) -> bool:
    """Whether the same request may well succeed later.

    An idempotency conflict is the caller's clash, unless an attempt of ours may have acted: then it is perhaps our own
    first send, still running.
    """
    if isinstance(error, NotSent | OutcomeUnknown):
        return True
    if isinstance(error, IdempotencyConflict):
        return may_have_acted
    if isinstance(error, RateLimited | ServerError):
        return True
    return isinstance(error, Answered) and _status_passes(error.status)


def leaves_doubt(error: RivyaError) -> bool:
    """Whether the service may have acted although the request failed: sent without an answer, or a gateway's word."""
    if isinstance(error, OutcomeUnknown):
        return True
    if not isinstance(error, Answered) or error.status is None:
        return False
    return error.status >= SERVER_FAULT or error.status == REQUEST_TIMEOUT


def did_not_act(error: RivyaError) -> bool:
    """Whether the request was certainly not carried out. Any other answer of a server in trouble leaves a doubt."""
    if isinstance(error, NotSent | RateLimited | ApiDisabled):
        return True
    return isinstance(error, Answered) and error.status == TOO_EARLY


def delay_before(policy: RetryPolicy, retry: int, u: float, retry_after: float | None = None) -> float:
    """Seconds before retry `retry` (from 0): the service's wish, else `u` of `backoff.expo`, both below the cap.

    With `u` uniform that is `backoff.full_jitter`, which throws dice of its own.
    """
    if retry_after is not None:
        return min(retry_after, policy.cap)
    return u * _ceiling(policy, retry)


def slow_delay(policy: RetryPolicy, u: float) -> float:
    """Seconds before a retry of a session that has sent too many: equal jitter below the cap."""
    return policy.cap * (0.5 + 0.5 * u)


def is_outage(error: RivyaError) -> bool:
    """Whether this may be a sign that the service is down: no answer, or a fault of its own."""
    if isinstance(error, NotSent | OutcomeUnknown | ServerError):
        return True
    return isinstance(error, Answered) and error.status is not None and error.status >= SERVER_FAULT


def retry_after_of(error: RivyaError) -> float | None:
    """The service's wish in seconds, if the error carries one."""
    return error.retry_after if isinstance(error, Answered) else None


def _status_passes(status: int | None) -> bool:
    return status is not None and (status in assumed.RETRYABLE_STATUSES or status >= SERVER_FAULT)


def _ceiling(policy: RetryPolicy, retry: int) -> float:
    doublings = min(retry, 64)  # beyond that the cap has long been reached, and a float would overflow
    rising = backoff.expo(base=2.0, factor=policy.base)  # begins with a None, for `send`
    return min(policy.cap, next(islice(rising, 1 + doublings, None)))
