"""Every error of this library.

    RivyaError                        idempotency_key, task_id, request_id, attempts where they are known
    ├─ ConfigurationError             wrong arguments or settings; nothing was sent
    ├─ SpendLimitError                a cap of the session: limit, counted, price; nothing was sent
    ├─ RequestNotSentError            DNS, connect, TLS: nothing was sent, always safe to repeat
    │  └─ SubmitTimeoutError          the timeout passed before anything was sent; also a TimeoutError
    ├─ OutcomeUnknownError            sent, no readable response: repeat only a safe method, or under its key
    │  └─ StreamInterruptedError      a stream broke off: text, session_id, code
    ├─ APIStatusError                 the service refused: status, code, retry_after
    │  ├─ ValidationFailed  AuthenticationError  PermissionDeniedError  InsufficientCreditsError
    │  ├─ NotFoundError  ChatSessionConflictError
    │  ├─ IdempotencyConflictError    another body under this key, or the first request is still running
    │  ├─ RateLimitError              too many requests: repeat after retry_after
    │  └─ InternalServerError         and APIDisabledError: repeat a safe method, or under its key
    ├─ DownloadError                  a file that cannot be saved: too long, no disk space, a refused redirect
    ├─ JournalError                   the journal of a batch cannot be opened, read or written
    ├─ ResponseDecodeError            a response of unknown shape: path and reason
    ├─ WaitError                      task_id, last (the last record seen)
    │  ├─ WaitTimeoutError            still open on the server: wait again with the same task id
    │  ├─ GenerationFailedError       the service ended the job as failed: generation
    │  └─ SessionClosedError          the session was closed during the wait
    └─ WebhookVerificationError       a delivery that cannot be trusted or read: respond with 400
       ├─ SignatureMismatchError      not signed with one of the configured secrets
       └─ TimestampToleranceError     signed too long ago or in the future: perhaps a replay
The drawing is the retry rule: `retry.decide` asks for the class, the attempt and the key. The class of an answer is
chosen by its `code`, by its status only if it has no code that we know (`answered_class`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .types.generations import Amount, Generation, ValidationProblem

if TYPE_CHECKING:
    from types import TracebackType


class RivyaError(Exception):
    """The root of every error that this library raises.

    `message` says what happened and what to do next. `idempotency_key` is the key of the purchase that the failed call
    would have made, if it was one: repeating the call with it repeats the very same purchase. `request_id` is the
    service's own name for the failed request; quote it to support. `attempts` counts the requests that were sent.
    """

    def __init__(
        self,
        message: str = "",
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.idempotency_key = idempotency_key
        self.request_id = request_id
        self.attempts = attempts

    def __str__(self) -> str:
        return self.message


def copy_error(error: RivyaError) -> RivyaError:
    """The same error for another who waits: a traceback and notes that one of them adds do not show on the others."""
    own = copy.copy(error)
    if hasattr(error, "__notes__"):
        own.__notes__ = list(error.__notes__)
    return own


class ConfigurationError(RivyaError):
    """Wrong arguments or settings. Nothing was sent; the message says what to change."""


class SpendLimitError(RivyaError):
    """The job would pass a cap of this session, or its price cannot be told beforehand. Nothing was sent.

    `limit` is the cap, `counted` what was reserved and spent when the job was refused, `price` what it would have
    cost: all in credits, None where it cannot be told.
    """

    def __init__(
        self,
        message: str = "",
        *,
        limit: Amount | None = None,
        counted: Amount | None = None,
        price: Amount | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key, request_id=request_id, attempts=attempts)
        self.limit = limit
        self.counted = counted
        self.price = price


class RequestNotSentError(RivyaError):
    """The request never left: name resolution, connect or TLS failed. Repeating it is always safe."""


class SubmitTimeoutError(RequestNotSentError, TimeoutError):
    """The timeout of `generate` passed before the purchase was sent: nothing was bought, there is no job to wait for.

    With `WaitTimeoutError`, whose job is bought and goes on, every end by a `timeout` is a `TimeoutError`.
    """


class OutcomeUnknownError(RivyaError):
    """The request went out and no readable answer came back: the service may or may not have acted.

    Repeat a purchase only under its `idempotency_key`.
    """


class StreamInterruptedError(OutcomeUnknownError):
    """A streamed answer began and broke off; `text` is what came of it before.

    `code` is the service's own, if it said why in the stream. What the turn was charged is not known. If `session_id`
    is known, `chat.sessions.retrieve` may have the whole answer. Nothing is repeated by itself: what the service does
    with a second stream under `idempotency_key` is not documented.
    """

    def __init__(
        self,
        message: str = "",
        *,
        text: str = "",
        session_id: str | None = None,
        code: str | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key, request_id=request_id, attempts=attempts)
        self.text = text
        self.session_id = session_id
        self.code = code


class APIStatusError(RivyaError):
    """The service answered with an error.

    `code` is its stable name for it (an open string, or None), `status` the HTTP status, `retry_after` its wish in
    seconds for the next attempt.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key, request_id=request_id, attempts=attempts)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class ValidationFailed(APIStatusError):
    """The job is not valid: model, prompt, params or references. Change it; repeating it changes nothing.

    Found before anything was sent, `status` and `code` are None and `problems` holds every one of them; it is empty
    where the service refused the job.
    """

    def __init__(
        self,
        message: str = "",
        *,
        problems: tuple[ValidationProblem, ...] = (),
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(
            message,
            status=status,
            code=code,
            retry_after=retry_after,
            idempotency_key=idempotency_key,
            request_id=request_id,
            attempts=attempts,
        )
        self.problems = problems


class AuthenticationError(APIStatusError):
    """The API key is missing, unknown, revoked or expired."""


class PermissionDeniedError(APIStatusError):
    """The API key lacks the scope that this call needs. Make a new key with it."""


class InsufficientCreditsError(APIStatusError):
    """The balance of the account is too low for this job. Nothing was bought."""


class NotFoundError(APIStatusError):
    """There is no such thing, or it belongs to another account."""


class ChatSessionConflictError(APIStatusError):
    """The chat session cannot be used: it must be made by the API, by this account and for this model."""


class IdempotencyConflictError(APIStatusError):
    """The key was used before with another body, or its first request is still running."""


class RateLimitError(APIStatusError):
    """Too many requests in the current window. `retry_after` says when to come back, if the service said so."""


class InternalServerError(APIStatusError):
    """The service failed. A read, or a purchase under its key, may be repeated."""


class APIDisabledError(InternalServerError):
    """The public API is switched off for now."""


class ResponseDecodeError(RivyaError):
    """The service answered in a shape we do not know: `path` names the bad member (`$.created_at`), `reason` why.

    `is_json` is false for what is no JSON at all, such as a gateway's page.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "$",
        reason: str = "",
        is_json: bool = True,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key, request_id=request_id, attempts=attempts)
        self.path = path
        self.reason = reason
        self.is_json = is_json


class DownloadError(RivyaError):
    """A result file was not saved: the disk does not take it, it is longer than allowed, or its host misleads.

    Nothing is lost: the job is paid and its links can be read again. `path` is where the file would have been, if that
    was known.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: str | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key, request_id=request_id, attempts=attempts)
        self.path = path


class JournalError(RivyaError):
    """The journal of a batch cannot be had, read or written: another process has it, it is none, or the disk is full.

    Nothing is bought that is not written there first. What it was not told any more it finds out by the same keys, once
    it can be written again.
    """


class WaitError(RivyaError):
    """A wait ended without a succeeded job. `task_id` names the job, `last` is the last record seen of it, if any."""

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
        super().__init__(message, idempotency_key=idempotency_key, request_id=request_id, attempts=attempts)
        self.task_id = task_id
        self.last = last


class WaitTimeoutError(WaitError, TimeoutError):
    """The wait's timeout passed. The job is still open on the server: wait again with the same task id."""


class GenerationFailedError(WaitError):
    """The service ended the job as failed; `generation.error` holds its code and message."""

    @property
    def generation(self) -> Generation:
        """The failed record."""
        if self.last is None:
            raise AttributeError("this error was built without a record")
        return self.last


class SessionClosedError(WaitError):
    """The session was closed while the wait was on. The job goes on: wait for its task id with another session."""


class WebhookVerificationError(RivyaError):
    """What was delivered cannot be trusted or read: a header is missing or malformed, or the body is no event."""


class SignatureMismatchError(WebhookVerificationError):
    """The delivery is not signed with any of the secrets: the secret was rotated, or it was sent by somebody else."""


class TimestampToleranceError(WebhookVerificationError):
    """The delivery is signed, but too long ago or in the future: a replay, or a clock that is wrong."""


CLASS_BY_CODE: Final[dict[str, type[APIStatusError]]] = {
    "public_api_disabled": APIDisabledError,
    "api_key_missing": AuthenticationError,
    "api_key_invalid": AuthenticationError,
    "api_key_revoked": AuthenticationError,
    "api_key_expired": AuthenticationError,
    "api_scope_denied": PermissionDeniedError,
    "rate_limited": RateLimitError,
    "validation_failed": ValidationFailed,
    "not_found": NotFoundError,
    "webhook_url_rejected": ValidationFailed,
    "chat_model_not_supported": ValidationFailed,
    "chat_session_conflict": ChatSessionConflictError,
    "chat_attachment_not_supported": ValidationFailed,
    "idempotency_conflict": IdempotencyConflictError,
    "insufficient_credits": InsufficientCreditsError,
    "internal_error": InternalServerError,
}
"""Contract section 3, the table of codes. `internal_error` and the class of each row are our choice."""

CLASS_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: ValidationFailed,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    413: ValidationFailed,
    415: ValidationFailed,
    422: ValidationFailed,
    429: RateLimitError,
}


def status_error_class(status: int, code: str | None) -> type[APIStatusError]:
    """The class of an answer: by its code, by its status only if the code is absent or unknown to us."""
    if code is not None and code in CLASS_BY_CODE:
        return CLASS_BY_CODE[code]
    if status >= 500:  # noqa: PLR2004 - the class of HTTP statuses
        return InternalServerError
    return CLASS_BY_STATUS.get(status, APIStatusError)


class attach_idempotency_key:  # noqa: N801 - called like a function, as contextlib.suppress is
    """Every error in here carries the key of the purchase: with it, the very same purchase can be repeated.

    No generator with `contextmanager`, which would weigh half a kilobyte per waiting job.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, RivyaError) and error.idempotency_key is None:
            error.idempotency_key = self._key
