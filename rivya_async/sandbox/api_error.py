"""The answer "no": one exception, raised anywhere behind the door, that becomes the error envelope."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

STATUS_BY_CODE: Final = MappingProxyType(
    {
        "validation_failed": 400,
        "webhook_url_rejected": 400,
        "chat_model_not_supported": 400,
        "chat_attachment_not_supported": 400,
        "api_key_missing": 401,
        "api_key_invalid": 401,
        "api_key_revoked": 401,
        "api_key_expired": 401,
        "insufficient_credits": 402,
        "api_scope_denied": 403,
        "not_found": 404,
        "method_not_allowed": 405,
        "idempotency_conflict": 409,
        "chat_session_conflict": 409,
        "body_too_large": 413,
        "rate_limited": 429,
        "internal_error": 500,
        "public_api_disabled": 503,
    }
)
"""HTTP status of each `error.code`. Undocumented and assumed: 402, 405, 413 and 500 with their codes."""

_CODE_OF: Final = {
    400: "validation_failed",
    401: "api_key_invalid",
    402: "insufficient_credits",
    403: "api_scope_denied",
    404: "not_found",
    405: "method_not_allowed",
    409: "idempotency_conflict",
    413: "body_too_large",
    429: "rate_limited",
    503: "public_api_disabled",
}


def code_for_status(status: int) -> str:
    """The code that a failure with this status most likely carries."""
    return _CODE_OF.get(status, "internal_error" if status >= STATUS_BY_CODE["internal_error"] else "validation_failed")


class ApiError(Exception):
    """A request that the service does not carry out. `headers` go with the answer."""

    def __init__(self, code: str, message: str, *, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status of this answer."""
        return STATUS_BY_CODE[self.code]
