"""Every error of this library.

    RivyaError                      carries idempotency_key and request_id when they are known
    ├─ ConfigurationError           wrong arguments or settings; nothing was sent
    ├─ SpendLimitReached            the session's own cap: limit, counted, price; nothing was sent
    ├─ NotSent                      DNS, connect, TLS: nothing was sent, always safe to repeat
    │  └─ NotSentInTime             the timeout passed before anything was sent; also a TimeoutError
    ├─ OutcomeUnknown               sent, no readable answer: repeat only a safe method, or under its key
    │  └─ StreamInterrupted         a streamed answer broke off: text, session_id, code
    ├─ Answered                     the service said no: status, code, retry_after
    │  ├─ ValidationFailed  Unauthorized  ScopeDenied  InsufficientCredits  NotFound  SessionConflict
    │  ├─ IdempotencyConflict       another body under this key, or the first request is still running
    │  ├─ RateLimited               too many requests: repeat after retry_after
    │  └─ ServerError               and ApiDisabled: repeat a safe method, or under its key
    ├─ DownloadError                a file that cannot be saved, or is not to be: too long, no room, a redirect refused
    ├─ JournalError                 the journal of a batch cannot be had, read or written
    ├─ DecodeError                  answered in a shape we do not know: path and reason
    ├─ WaitError                    task_id, last (the last record seen)
    │  ├─ DeadlineExceeded          still open on the server: wait again with the same task id
    │  ├─ GenerationFailed          the service ended the job as failed: generation
    │  └─ SessionClosed             the session was closed while a wait was on
    └─ WebhookError                 what was delivered is not to be trusted, or not to be read: answer it with a 400
       ├─ SignatureMismatch         not signed with a secret of ours
       └─ OutsideTolerance          signed with one, but too long ago or in the future: perhaps a replay

The drawing is the retry rule: `retry.decide` asks for the class, the attempt and the key. The class of an answer is
chosen by its `code`, by its status only if it has no code that we know (`answered_class`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .problem import Problem
    from .records import Amount, Generation


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


def copied(error: RivyaError) -> RivyaError:
    """The same error for another who waits: a traceback and notes that one of them adds do not show on the others."""
    own = copy.copy(error)
    if hasattr(error, "__notes__"):
        own.__notes__ = list(error.__notes__)
    return own


class ConfigurationError(RivyaError):
    """Wrong arguments or settings. Nothing was sent; the message says what to change."""


class SpendLimitReached(RivyaError):
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


class NotSent(RivyaError):
    """The request never left: name resolution, connect or TLS failed. Repeating it is always safe."""


class NotSentInTime(NotSent, TimeoutError):
    """The timeout of `generate` passed before the purchase was sent: nothing was bought, there is no job to wait for.

    With `DeadlineExceeded`, whose job is bought and goes on, every end by a `timeout` is a `TimeoutError`.
    """


class OutcomeUnknown(RivyaError):
    """The request went out and no readable answer came back: the service may or may not have acted.

    Repeat a purchase only under its `idempotency_key`.
    """


class StreamInterrupted(OutcomeUnknown):
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


class Answered(RivyaError):
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


class ValidationFailed(Answered):
    """The job is not valid: model, prompt, params or references. Change it; repeating it changes nothing.

    Found before anything was sent, `status` and `code` are None and `problems` holds every one of them; it is empty
    where the service refused the job.
    """

    def __init__(
        self,
        message: str = "",
        *,
        problems: tuple[Problem, ...] = (),
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


class Unauthorized(Answered):
    """The API key is missing, unknown, revoked or expired."""


class ScopeDenied(Answered):
    """The API key lacks the scope that this call needs. Make a new key with it."""


class InsufficientCredits(Answered):
    """The balance of the account is too low for this job. Nothing was bought."""


class NotFound(Answered):
    """There is no such thing, or it belongs to another account."""


class SessionConflict(Answered):
    """The chat session cannot be used: it must be made by the API, by this account and for this model."""


class IdempotencyConflict(Answered):
    """The key was used before with another body, or its first request is still running."""


class RateLimited(Answered):
    """Too many requests in the current window. `retry_after` says when to come back, if the service said so."""


class ServerError(Answered):
    """The service failed. A read, or a purchase under its key, may be repeated."""


class ApiDisabled(ServerError):
    """The public API is switched off for now."""


class DecodeError(RivyaError):
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


class DeadlineExceeded(WaitError, TimeoutError):
    """The wait's timeout passed. The job is still open on the server: wait again with the same task id."""


class GenerationFailed(WaitError):
    """The service ended the job as failed; `generation.error` holds its code and message."""

    @property
    def generation(self) -> Generation:
        """The failed record."""
        if self.last is None:
            raise AttributeError("this error was built without a record")
        return self.last


class SessionClosed(WaitError):
    """The session was closed while the wait was on. The job goes on: wait for its task id with another session."""


class WebhookError(RivyaError):
    """What was delivered cannot be trusted or read: a header is missing or malformed, or the body is no event."""


class SignatureMismatch(WebhookError):
    """The delivery is not signed with any of the secrets: the secret was rotated, or it was sent by somebody else."""


class OutsideTolerance(WebhookError):
    """The delivery is signed, but too long ago or in the future: a replay, or a clock that is wrong."""


BY_CODE: Final[dict[str, type[Answered]]] = {
    "public_api_disabled": ApiDisabled,
    "api_key_missing": Unauthorized,
    "api_key_invalid": Unauthorized,
    "api_key_revoked": Unauthorized,
    "api_key_expired": Unauthorized,
    "api_scope_denied": ScopeDenied,
    "rate_limited": RateLimited,
    "validation_failed": ValidationFailed,
    "not_found": NotFound,
    "webhook_url_rejected": ValidationFailed,
    "chat_model_not_supported": ValidationFailed,
    "chat_session_conflict": SessionConflict,
    "chat_attachment_not_supported": ValidationFailed,
    "idempotency_conflict": IdempotencyConflict,
    "insufficient_credits": InsufficientCredits,
    "internal_error": ServerError,
}
"""Contract section 3, the table of codes. `internal_error` and the class of each row are our choice."""

BY_STATUS: Final[dict[int, type[Answered]]] = {
    400: ValidationFailed,
    401: Unauthorized,
    402: InsufficientCredits,
    403: ScopeDenied,
    404: NotFound,
    410: NotFound,
    413: ValidationFailed,
    415: ValidationFailed,
    422: ValidationFailed,
    429: RateLimited,
}


def answered_class(status: int, code: str | None) -> type[Answered]:
    """The class of an answer: by its code, by its status only if the code is absent or unknown to us."""
    if code is not None and code in BY_CODE:
        return BY_CODE[code]
    if status >= 500:  # noqa: PLR2004 - the class of HTTP statuses
        return ServerError
    return BY_STATUS.get(status, Answered)
