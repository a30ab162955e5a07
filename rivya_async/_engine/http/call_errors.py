"""The error of a call after several attempts, one of which may have been processed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._core.errors import (
    IdempotencyConflictError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    SessionClosedError,
)
from ..._core.http.retry import definitely_not_processed, outcome_is_ambiguous, purchase_outcome_is_unknown
from ..._core.masking import mask_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from ..._core.http.messages import Request


class CancellationContext:
    """Adds a note with the idempotency key to any error that is not a `RivyaError`, such as a cancellation."""

    __slots__ = ("_request",)

    def __init__(self, request: Request | None) -> None:
        self._request = request

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        request = self._request
        if error is None or isinstance(error, RivyaError) or request is None or request.idempotency_key is None:
            return
        error.add_note(
            f"{type(error).__name__} during {request.method} {request.path}: the service may have acted. "
            f"Repeat the call under idempotency_key={request.idempotency_key!r}"
        )


def may_have_been_processed(request: Request | None, error: RivyaError) -> bool:
    """Returns whether the service may have acted on a request that failed with this error."""
    if request is None or request.is_safe or not outcome_is_ambiguous(error):
        return False
    return request.idempotency_key is not None or not definitely_not_processed(error)


def to_attempt_error(error: RivyaError, request: Request | None, attempts: int, secrets: Iterable[str]) -> RivyaError:
    """Returns the error of an attempt with the details of its call, and without secrets.

    A purchase has an unknown outcome if something other than the API answered. The cause is then the error by status.
    Other changes that can be repeated, such as uploads, have one only if a successful response cannot be read.
    """
    mask_error(error, secrets)
    error.attempts = attempts
    if request is None:
        return error
    error.idempotency_key = request.idempotency_key
    if request.is_safe or not request.is_repeatable or not purchase_outcome_is_unknown(error):
        return error
    if request.idempotency_key is None and not isinstance(error, ResponseDecodeError):
        return error  # a refusal, which a repeat would meet again
    unknown = OutcomeUnknownError(
        f"the request may have been processed, since its answer is not one of the API: {error.message}",
        idempotency_key=error.idempotency_key,
        request_id=error.request_id,
        attempts=attempts,
    )
    unknown.__cause__ = error
    return unknown


def mask_error(error: RivyaError, secrets: Iterable[str]) -> None:
    """Removes the secrets from all texts of an error: a service may repeat the API key in any of them."""
    for name, value in vars(error).items():
        if isinstance(value, str) and name != "idempotency_key":
            setattr(error, name, mask_secrets(value, secrets))
    error.args = (error.message,)


def to_call_error(error: RivyaError, *, ambiguous: bool) -> RivyaError:
    """Returns the error to raise: the last attempt's, unless an earlier attempt may have been processed."""
    if not ambiguous or outcome_is_ambiguous(error):
        return error
    if not isinstance(error, RequestNotSentError | SessionClosedError | RateLimitError | IdempotencyConflictError):
        error.add_note("an earlier attempt of the same call may have been processed")
        return error
    return OutcomeUnknownError(
        f"an earlier attempt may have been processed, and the last one failed: {error.message}",
        idempotency_key=error.idempotency_key,
        request_id=error.request_id,
        attempts=error.attempts,
    )
