"""Error responses of the service: from a response to an error of this library."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any, Final

import attrs

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
from ..masking import MAX_BODY_LENGTH, clean_body, clean_message, mask_secrets, mask_url, mask_urls
from ..terminal_text import to_one_line
from . import serialization

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


ADVICE_FOR_PAGES: Final = (BadRequestError, RateLimitError, InternalServerError)
"""Classes of errors whose advice also holds for the page of a gateway."""

PAGE_ADVICE: Final = "The answer is not from the API: check base_url, and any proxy or gateway on the way."

MAX_PARSED_BYTES: Final = 1024 * 1024
"""Maximum bytes of an error response that is parsed as JSON."""

MAX_TEXT_LENGTH: Final = 16 * 1024
"""Maximum length of a text that is searched for a reason, in characters."""

MAX_REASONS: Final = 10
"""Maximum number of listed reasons of one response."""

MAX_REASON_DEPTH: Final = 4
"""Maximum depth of a reason within JSON."""

REASON_MEMBERS: Final = (
    *("title", "error", "detail", "message", "msg", "error_description", "error_message", "description", "reason"),
    "errors",
)
"""Members of JSON objects that contain the reason of an error, in lower case and in the order of a message."""

EMPTY_JSON: Final = frozenset({"{}", "[]", "null"})
"""Bodies without a reason."""

TAG_PATTERN: Final = re.compile(r"<(?P<end>/?)(?P<name>[a-zA-Z!?][\w:-]*)[^>]*>?")
"""Tag of an HTML or XML page, complete or cut off."""


def status_error_class(status: int, code: str | None) -> type[APIStatusError]:
    """Returns the class for an error response: by its code, or by its status if the code is missing or unknown."""
    if code is not None and code in CLASS_BY_CODE:
        return CLASS_BY_CODE[code]
    if status >= 500:  # noqa: PLR2004 - the class of HTTP statuses
        return InternalServerError
    return CLASS_BY_STATUS.get(status, APIStatusError)


def read_error(response: Response, now: float, secrets: Iterable[str] = ()) -> APIStatusError:
    """Returns the error for a response without a 2xx status (contract section 3), also for the page of a proxy."""
    content = read_error_content(response, secrets)
    kind = status_error_class(response.status, content.code)
    reason = content.reason or _default_reason(response, secrets)
    advice = _advice(kind, content)
    error = kind(
        f"{reason} [{response.status} {content.code or 'without a code'}]" + (f" {advice}" if advice else ""),
        status=response.status,
        code=content.code,
        body=content.body,
        headers=_masked_headers(response.headers, secrets),
        retry_after=response.retry_after(now),
        request_id=content.request_id or response.request_id,
    )
    if not content.has_envelope:
        error.has_envelope = False
        error.is_refusal = content.is_json
    return error


@attrs.frozen
class ErrorContent:
    """Content of an error response: its reason in one line, and the text of its body."""

    reason: str
    body: str
    code: str | None = None
    request_id: str | None = None
    has_envelope: bool = False
    is_json: bool = False
    """True if the reason is a member of a JSON object."""


def read_error_content(response: Response, secrets: Iterable[str] = ()) -> ErrorContent:
    """Returns the content of an error response: the envelope of the API, JSON of another shape, or a page."""
    text = mask_secrets(response.body[:MAX_TEXT_LENGTH].decode(errors="replace"), secrets)
    value = _parse_object(response.body)
    error = value.get("error")
    if isinstance(error, dict):
        code, message, request_id = (_text_member(error, name, secrets) for name in ("code", "message", "requestId"))
        if code is not None or message is not None:
            return ErrorContent(message or "", text, code, request_id, has_envelope=True)
    reason = _one_line("; ".join(_reasons(value)), secrets)
    if reason:
        return ErrorContent(reason, text, is_json=True)
    if "html" in (response.content_type or "").lower() or text.lstrip()[:1] == "<":
        text = _strip_tags(text)
    text = text.strip()
    return ErrorContent("" if text in EMPTY_JSON else _one_line(text, secrets), text)


def add_response(error: ResponseDecodeError, response: Response, secrets: Iterable[str] = ()) -> None:
    """Adds the text of the response to the error, and to its message if it is a page or an error of the API."""
    content = read_error_content(response, secrets)
    error.body = clean_body(content.body)
    error.request_id = content.request_id or response.request_id
    if content.reason and (content.has_envelope or not error.is_json):
        status = f"{response.status} {content.code or ''}".strip()
        error.message = clean_message(f"{error.message}. The answer: {content.reason} [{status}]")


def _parse_object(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_PARSED_BYTES:
        return {}
    try:
        value = serialization.parse_json(body)
    except ResponseDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _reasons(value: object, depth: int = 0) -> list[str]:
    """Returns the reasons in a JSON value of an unknown service: FastAPI, RFC 9457, OAuth and similar shapes."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if depth > MAX_REASON_DEPTH:
        return []
    if isinstance(value, list):
        return [reason for item in value[:MAX_REASONS] for reason in _reasons(item, depth + 1)]
    if not isinstance(value, dict):
        return []
    members = {name.lower(): member for name, member in value.items()}
    found = [_reasons(members[name], depth + 1) for name in REASON_MEMBERS if name in members]
    if not any(found) and depth:  # such as {"errors": {"name": ["is blank"]}}
        found = [
            [f"{name}: {reason}" for reason in _reasons(value[name], depth + 1)] for name in [*value][:MAX_REASONS]
        ]
    reason = ": ".join(dict.fromkeys("; ".join(reasons) for reasons in found if reasons))
    location = members.get("loc")
    if reason and isinstance(location, list):
        reason = f"{'.'.join(map(str, location[:MAX_REASONS]))}: {reason}"
    return [reason] if reason else []


def _strip_tags(page: str) -> str:
    """Returns the text of an HTML or XML page, without its scripts and styles."""
    parts, position, skipped = [], 0, ""
    for tag in TAG_PATTERN.finditer(page):
        name = tag["name"].lower()
        if not skipped:
            parts.append(page[position : tag.start()])
            skipped = name if name in {"script", "style"} and not tag["end"] else ""
        elif tag["end"] and name == skipped:
            skipped = ""
        position = tag.end()
    if not skipped:
        parts.append(page[position:])
    return " ".join(unescape(" ".join(parts)).split())


def _one_line(text: str, secrets: Iterable[str]) -> str:
    """Returns the start of a text in one line of printable characters, without the secrets."""
    text = mask_urls(mask_secrets(text[:MAX_TEXT_LENGTH], secrets))
    line = to_one_line(text[: 4 * MAX_BODY_LENGTH])
    return line if len(line) <= MAX_BODY_LENGTH else f"{line[: MAX_BODY_LENGTH - 3]}..."


def _text_member(members: Mapping[str, Any], name: str, secrets: Iterable[str]) -> str | None:
    value = members.get(name)
    return _one_line(value, secrets) or None if isinstance(value, str) else None


def _advice(kind: type[APIStatusError], content: ErrorContent) -> str | None:
    if content.has_envelope or content.is_json or kind in {APIStatusError, *ADVICE_FOR_PAGES}:
        return ADVICE_BY_CODE.get(content.code) or ADVICE.get(kind)
    return PAGE_ADVICE


def _default_reason(response: Response, secrets: Iterable[str]) -> str:
    if response.is_redirect and response.location is not None:
        target = mask_url(_one_line(response.location, secrets))
        return f"the service redirects to {target}, which is not followed with a key: set base_url"
    return "the service answered without an error message"


def _masked_headers(headers: Mapping[str, str], secrets: Iterable[str]) -> Mapping[str, str]:
    """Returns a copy that can be pickled, with case-insensitive lookups and without the secrets."""
    from multidict import CIMultiDict

    return CIMultiDict((name, mask_secrets(value, secrets)) for name, value in headers.items())
