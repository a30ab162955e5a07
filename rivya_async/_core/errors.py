"""All errors of this library. The README of the package shows them as a tree.

The class is the retry rule: `http.retry.decide_retry` depends on it, on the attempt and on the key. The class of an
error response depends on its `code`, and on its status only if the code is missing or unknown (`http.operations`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypedDict, Unpack

from .masking import clean_body, clean_message
from .public_module import set_public_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .types.generations import Amount, Generation, ValidationProblem


class RequestDetails(TypedDict, total=False):
    """Keyword arguments that every error accepts."""

    idempotency_key: str | None
    task_id: str | None
    request_id: str | None
    attempts: int


class RivyaError(Exception):
    """Base class of all errors that this library raises."""

    def __init__(
        self,
        message: str = "",
        *,
        idempotency_key: str | None = None,
        task_id: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        message = clean_message(message)
        """Description of the failure and the next step: at most 2,000 characters, without the queries of URLs."""
        super().__init__(message)
        self.message = message
        """Description of the failure and the next step: at most 2,000 characters, without the queries of URLs."""
        self.idempotency_key = idempotency_key
        """Key of the failed purchase: a call with it repeats the same purchase."""
        self.task_id = task_id
        """Task id of the purchased job that the call was about."""
        self.request_id = request_id
        """Id of the request, for the support of the service."""
        self.attempts = attempts
        """Number of requests sent."""

    def __str__(self) -> str:
        return self.message


class ConfigurationError(RivyaError):
    """Wrong arguments or settings. Nothing was sent; the message says what to change.

    Causes and next steps: TROUBLESHOOTING.md#configurationerror.
    """


class InvalidRequestError(RivyaError):
    """Invalid request, refused before anything was sent: model, prompt, params, references or a file.

    Causes and next steps: TROUBLESHOOTING.md#invalidrequesterror.
    """

    def __init__(
        self, message: str = "", *, problems: tuple[ValidationProblem, ...] = (), **details: Unpack[RequestDetails]
    ) -> None:
        super().__init__(message, **details)
        self.problems = problems
        """Every problem of the job, with suggestions."""


class SpendLimitError(RivyaError):
    """Job that would exceed a cap of this session, or has no known price. Nothing was sent.

    Causes and next steps: TROUBLESHOOTING.md#spendlimiterror.
    """

    def __init__(
        self,
        message: str = "",
        *,
        limit: Amount | None = None,
        counted: Amount | None = None,
        price: Amount | None = None,
        **details: Unpack[RequestDetails],
    ) -> None:
        super().__init__(message, **details)
        self.limit = limit
        """The cap in credits."""
        self.counted = counted
        """Credits counted before this job; None if unknown."""
        self.price = price
        """Price of the job in credits; None if unknown."""


class APIConnectionError(RivyaError):
    """Request without a readable response: it was not sent, or its outcome is unknown."""


class RequestNotSentError(APIConnectionError):
    """Request that was never sent: name resolution, connect or TLS failed. A repeat is always safe.

    Causes and next steps: TROUBLESHOOTING.md#requestnotsenterror.
    """


class SubmitTimeoutError(RequestNotSentError, TimeoutError):
    """Timeout of `generate` before the purchase was sent: nothing was bought, there is no job to wait for.

    Causes and next steps: TROUBLESHOOTING.md#submittimeouterror.
    """


class OutcomeUnknownError(APIConnectionError):
    """Request without a readable response, which may have been processed. Repeat a purchase only under its key.

    Causes and next steps: TROUBLESHOOTING.md#outcomeunknownerror.
    """


class StreamInterruptedError(OutcomeUnknownError):
    """Streamed answer that began and broke off.

    The charge for the turn is unknown. `chat.sessions.retrieve` may
    have the whole answer, if `session_id` is known. Streams are not retried.

    Causes and next steps: TROUBLESHOOTING.md#streaminterruptederror.
    """

    def __init__(
        self,
        message: str = "",
        *,
        text: str = "",
        session_id: str | None = None,
        code: str | None = None,
        **details: Unpack[RequestDetails],
    ) -> None:
        super().__init__(message, **details)
        self.text = text
        """Text that was received before."""
        self.session_id = session_id
        """Id of the chat session, if it is known."""
        self.code = code
        """API code of an error in the stream."""


class APIStatusError(RivyaError):
    """Error response of the service."""

    has_envelope: bool = True
    """False if the body is not an error of the API, such as the page of a gateway."""

    is_refusal: bool = True
    """False if the body has no reason in a known JSON shape: then perhaps not the service has answered."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        **details: Unpack[RequestDetails],
    ) -> None:
        super().__init__(message, **details)
        self.status = status
        """HTTP status."""
        self.code = code
        """Stable code of the API, an open string; None if the response has none."""
        self.body = clean_body(body)
        """Start of the response body as text."""
        self.headers = headers or {}
        """Headers of the response."""
        self.retry_after = retry_after
        """Seconds to wait before the next attempt, as the service asks."""


class BadRequestError(APIStatusError):
    """Request that the service rejected as invalid. Change it; a repeat fails again.

    Causes and next steps: TROUBLESHOOTING.md#badrequesterror.
    """


class AuthenticationError(APIStatusError):
    """API key that is missing, unknown, revoked or expired.

    Causes and next steps: TROUBLESHOOTING.md#authenticationerror.
    """


class PermissionDeniedError(APIStatusError):
    """API key without the scope that this call needs. Create a new key with it.

    Causes and next steps: TROUBLESHOOTING.md#permissiondeniederror.
    """


class InsufficientCreditsError(APIStatusError):
    """Account balance that is too low for this job. Nothing was bought.

    Causes and next steps: TROUBLESHOOTING.md#insufficientcreditserror.
    """


class NotFoundError(APIStatusError):
    """Object that does not exist, or belongs to another account.

    Causes and next steps: TROUBLESHOOTING.md#notfounderror.
    """


class ConflictError(APIStatusError):
    """Conflict with the state of the account: a key, a chat session or an object in use.

    Causes and next steps: TROUBLESHOOTING.md#conflicterror.
    """


class ChatSessionConflictError(ConflictError):
    """Unusable chat session: it must be created by the API, by this account and for this model.

    Causes and next steps: TROUBLESHOOTING.md#chatsessionconflicterror.
    """


class IdempotencyConflictError(ConflictError):
    """Idempotency key that was used before with another body, or whose first request is still running.

    Causes and next steps: TROUBLESHOOTING.md#idempotencyconflicterror.
    """


class RateLimitError(APIStatusError):
    """Too many requests in the current window. `retry_after` is the delay requested by the service, if any.

    Causes and next steps: TROUBLESHOOTING.md#ratelimiterror.
    """


class InternalServerError(APIStatusError):
    """Failure of the service. A read, or a purchase under its key, may be repeated.

    Causes and next steps: TROUBLESHOOTING.md#internalservererror.
    """


class APIDisabledError(InternalServerError):
    """Public API that is currently switched off.

    Causes and next steps: TROUBLESHOOTING.md#apidisablederror.
    """


class ResponseDecodeError(RivyaError):
    """Response of unknown shape.

    Causes and next steps: TROUBLESHOOTING.md#responsedecodeerror.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "$",
        reason: str = "",
        body: str = "",
        is_json: bool = True,
        **details: Unpack[RequestDetails],
    ) -> None:
        super().__init__(message, **details)
        self.path = path
        """Path of the invalid member, such as `$.created_at`."""
        self.reason = reason
        """Why it cannot be read."""
        self.body = clean_body(body)
        """Start of the response body as text."""
        self.is_json = is_json
        """False for a body that is not JSON, such as the error page of a gateway."""


class DownloadError(RivyaError):
    """Result file that was not saved: a disk error, a file above the size limit, or an unsafe redirect.

    Nothing is lost: the job is paid and its links can be read again.

    Causes and next steps: TROUBLESHOOTING.md#downloaderror.
    """

    def __init__(self, message: str = "", *, path: str | None = None, **details: Unpack[RequestDetails]) -> None:
        super().__init__(message, **details)
        self.path = path
        """Planned path of the file, if it is known."""


class JournalError(RivyaError):
    """Journal of a batch that cannot be opened, read or written: it is locked, invalid, or the disk is full.

    No purchase is lost: each is recorded before it is sent, and a later run repeats it under the same key.

    Causes and next steps: TROUBLESHOOTING.md#journalerror.
    """


class WaitError(RivyaError):
    """Wait without a succeeded job."""

    task_id: str  # pyright: ignore[reportIncompatibleVariableOverride] - always known here, and never deleted
    """Task id of the job: wait for it again."""

    def __init__(
        self,
        message: str = "",
        *,
        task_id: str = "",
        last: Generation | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(
            message, idempotency_key=idempotency_key, task_id=task_id, request_id=request_id, attempts=attempts
        )
        self.last = last
        """Last known record of the job, if any."""


class WaitTimeoutError(WaitError, TimeoutError):
    """Timeout of a wait. The job is still open on the server: wait again with the same task id.

    Causes and next steps: TROUBLESHOOTING.md#waittimeouterror.
    """


class GenerationFailedError(WaitError):
    """Job that the service ended as failed; `generation.error` contains its code and message.

    Causes and next steps: TROUBLESHOOTING.md#generationfailederror.
    """

    @property
    def generation(self) -> Generation:
        """The failed record."""
        if self.last is None:
            raise AttributeError("this error was built without a record")
        return self.last


class SessionClosedError(RivyaError):
    """Closed session. A wait that closing ended names its job by `task_id`.

    The job continues: wait for its task id with another session.

    Causes and next steps: TROUBLESHOOTING.md#sessionclosederror.
    """

    def __init__(self, message: str = "", *, last: Generation | None = None, **details: Unpack[RequestDetails]) -> None:
        super().__init__(message, **details)
        self.last = last
        """Last known record of the job, if the call was a wait."""


class WebhookVerificationError(RivyaError):
    """Delivery that cannot be trusted or read: a header is missing or malformed, or the body is not an event.

    Causes and next steps: TROUBLESHOOTING.md#webhookverificationerror.
    """


class SignatureMismatchError(WebhookVerificationError):
    """Delivery that no configured secret has signed: the secret was rotated, or the sender is not the service.

    Causes and next steps: TROUBLESHOOTING.md#signaturemismatcherror.
    """


class TimestampToleranceError(WebhookVerificationError):
    """Delivery that was signed too long ago or in the future: a replay, or a wrong clock.

    Causes and next steps: TROUBLESHOOTING.md#timestamptoleranceerror.
    """


def copy_error(error: RivyaError) -> RivyaError:
    """Returns a copy for another waiter, so that tracebacks and notes added to one do not show on the other."""
    copied = copy.copy(error)
    if hasattr(error, "__notes__"):
        copied.__notes__ = list(error.__notes__)
    return copied


set_public_module(
    "rivya_async",
    *(each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RivyaError)),
)
