"""Error responses of the service: from a response to an error of this library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import (
    APIDisabledError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ChatSessionConflictError,
    ConflictError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
)
from . import serialization

if TYPE_CHECKING:
    from .messages import Response

CLASS_BY_CODE: Final[dict[str, type[APIStatusError]]] = {
    "public_api_disabled": APIDisabledError,
    "api_key_missing": AuthenticationError,
    "api_key_invalid": AuthenticationError,
    "api_key_revoked": AuthenticationError,
    "api_key_expired": AuthenticationError,
    "api_scope_denied": PermissionDeniedError,
    "rate_limited": RateLimitError,
    "validation_failed": BadRequestError,
    "not_found": NotFoundError,
    "webhook_url_rejected": BadRequestError,
    "chat_model_not_supported": BadRequestError,
    "chat_session_conflict": ChatSessionConflictError,
    "chat_attachment_not_supported": BadRequestError,
    "idempotency_conflict": IdempotencyConflictError,
    "insufficient_credits": InsufficientCreditsError,
    "internal_error": InternalServerError,
}
"""Error class by API code (contract section 3). `internal_error` and the choice of classes are ours."""

CLASS_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: BadRequestError,
    415: BadRequestError,
    422: BadRequestError,
    429: RateLimitError,
}
"""Error class by HTTP status, for responses without a known code."""

ADVICE: Final[dict[type[APIStatusError], str]] = {
    APIDisabledError: "The service has switched its API off for now: try again later.",
    IdempotencyConflictError: "Take a new idempotency key for a new job, or repeat the old job unchanged.",
    InsufficientCreditsError: "Nothing was bought: top up the account, or choose a cheaper model.",
    NotFoundError: "Check the id, and that it belongs to the account of this API key.",
    RateLimitError: "Slow down: send fewer requests at once.",
    PermissionDeniedError: "Make a new API key that has the scope.",
    InternalServerError: "The service failed: try again later, a purchase under the same idempotency key.",
    ConflictError: "Read the object again: its state does not allow this call.",
    ChatSessionConflictError: "Begin a new chat session.",
    AuthenticationError: "Check RIVYA_API_KEY: keys are made and revoked in the account settings.",
    BadRequestError: "Change the request: the service will refuse it again as it is.",
}
"""Advice at the end of an error message, by error class."""

ADVICE_BY_CODE: Final[dict[str | None, str]] = {
    "webhook_url_rejected": "Give an https URL of a public host, without a user, a password and a fragment.",
}
"""Advice that replaces the advice of the error class, by API code."""


def status_error_class(status: int, code: str | None) -> type[APIStatusError]:
    """Returns the class for an error response: by its code, or by its status if the code is missing or unknown."""
    if code is not None and code in CLASS_BY_CODE:
        return CLASS_BY_CODE[code]
    if status >= 500:  # noqa: PLR2004 - the class of HTTP statuses
        return InternalServerError
    return CLASS_BY_STATUS.get(status, APIStatusError)


def read_error(response: Response, now: float) -> APIStatusError:
    """Returns the error for a response without a 2xx status (contract section 3), also for the page of a proxy."""
    envelope = _error_envelope(response.body)
    code = _nonempty_text(envelope.get("code"))
    kind = status_error_class(response.status, code)
    message = _nonempty_text(envelope.get("message")) or _default_message(response)
    advice = ADVICE_BY_CODE.get(code) or ADVICE.get(kind)
    return kind(
        f"{message} [{response.status} {code or 'without a code'}]" + (f" {advice}" if advice else ""),
        status=response.status,
        code=code,
        retry_after=response.retry_after(now),
        request_id=_nonempty_text(envelope.get("requestId")),
    )


def _error_envelope(body: bytes) -> dict[str, Any]:
    try:
        value = serialization.parse_json(body)
    except ResponseDecodeError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _nonempty_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _default_message(response: Response) -> str:
    if response.is_redirect and response.location is not None:
        return f"the service redirects to {response.location}, which is not followed with a key: set base_url"
    return "the service answered without an error message"
