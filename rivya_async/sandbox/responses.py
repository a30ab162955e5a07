"""Responses of the service as values: the success, the error, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import attrs

from .sse import SseStream, StreamEnd

JSON_TYPE: Final = "application/json"
HTML_TYPE: Final = "text/html; charset=utf-8"

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

STATUS_BY_CODE: Final = MappingProxyType(
    {
        "validation_failed": 400,
        "webhook_url_rejected": 400,
        "chat_model_not_supported": 400,
        "chat_attachment_not_supported": 400,
        "api_key_invalid": 401,
        "api_key_missing": 401,
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
"""HTTP status of each `error.code`; the first code of a status is its usual one. Assumed: 402, 405, 413 and 500."""

_CODE_BY_STATUS: Final = {status: code for code, status in reversed(list(STATUS_BY_CODE.items()))}


@attrs.frozen
class ApiResponse:
    """One HTTP response. `task_id` names the task that it describes; a response with `events` is streamed."""

    body: bytes
    status: int = 200
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = NO_HEADERS
    task_id: str | None = None
    events: SseStream = attrs.field(default=(), repr=False)
    stream_end: StreamEnd = "complete"

    @classmethod
    def from_json(cls, value: Any) -> ApiResponse:
        """Returns a 200 whose body is this JSON value."""
        return cls(json.dumps(value).encode())


class ApiError(Exception):
    """A request that the service rejects; `headers` are sent with the error."""

    def __init__(self, code: str, message: str, *, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status of the response."""
        return STATUS_BY_CODE[self.code]

    def to_response(self, request_id: str) -> ApiResponse:
        """Returns the response with the error body."""
        return ApiResponse(error_body(self.code, self.message, request_id), self.status, headers=self.headers)


def validation_error(message: str) -> ApiError:
    """Returns the error for an invalid request."""
    return ApiError("validation_failed", message)


def code_for_status(status: int) -> str:
    """Returns the usual `error.code` of an HTTP status."""
    return _CODE_BY_STATUS.get(
        status, "internal_error" if status >= STATUS_BY_CODE["internal_error"] else "validation_failed"
    )


def error_body(code: str, message: str, request_id: str) -> bytes:
    """Returns the JSON body of a failed request."""
    return json.dumps({"error": {"code": code, "message": message, "requestId": request_id}}).encode()


def encode_record(record: attrs.AttrsInstance, object_type: str, *hidden: str) -> dict[str, Any]:
    """Returns a record as an API object without its `hidden` fields; the fields that end with `_at` are timestamps."""
    fields = attrs.asdict(record, recurse=False, filter=attrs.filters.exclude(*hidden))
    times = {
        name: format_timestamp(value) for name, value in fields.items() if name.endswith("_at") and value is not None
    }
    return {"object": object_type, **fields, **times}


def format_timestamp(instant: float) -> str:
    """Returns epoch seconds in the API's format: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
