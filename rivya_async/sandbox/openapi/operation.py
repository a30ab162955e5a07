"""What the document says of one route: an operation, as a value and as OpenAPI writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from .. import idempotency
from ..request_context import DEFAULT_LIMIT, MAX_LIMIT
from ..responses import STATUS_BY_CODE
from ..router import Route
from .schema import COUNT, TEXT, Schema, ref

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"

BEHIND_THE_KEY: Final = (
    "api_key_missing",
    "api_key_invalid",
    "api_key_revoked",
    "api_key_expired",
    "api_scope_denied",
    "rate_limited",
)
"""What an operation that needs a key may answer before it acts."""

ANYWHERE: Final = ("internal_error", "public_api_disabled")
"""The second one by a fault only: the sandbox has no switch for it."""

IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same body answers as before, for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": idempotency.MAX_KEY_LENGTH},
}

LIMIT: Final = {
    "name": "limit",
    "in": "query",
    "description": "So many at most.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
}


@attrs.frozen
class Operation:
    """One operation. `refuses`: the codes, with spaces between, that it has beyond those that follow from the rest."""

    id: str
    summary: str
    answers: Mapping[str, Mapping[str, Any]]
    refuses: str = ""
    parameters: Sequence[Mapping[str, Any]] = ()
    body: Schema | None = None
    form: Schema | None = None

    def to_openapi(self, route: Route) -> dict[str, Any]:
        """As the document has it."""
        paths = [
            {"name": name, "in": "path", "required": True, "schema": TEXT}
            for name in re.findall(r"{(\w+)}", route.path)
        ]
        whole: dict[str, Any] = {
            "operationId": self.id,
            "summary": self.summary,
            "security": [] if route.scope is None else [{"apiKey": []}],
            "responses": {**self.answers, **refusals(self._codes(needs_key=route.scope is not None))},
        }
        if route.scope is not None:
            whole["description"] = f"Needs the scope {route.scope}."
        if parameters := [*paths, *self.parameters]:
            whole["parameters"] = parameters
        for media_type, schema in ((JSON, self.body), (FORM, self.form)):
            if schema is not None:
                whole["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}
        return whole

    def _codes(self, *, needs_key: bool) -> Iterable[str]:
        codes = {*self.refuses.split(), *ANYWHERE}
        if needs_key:
            codes.update(BEHIND_THE_KEY)
        if self.body is not None or self.form is not None:
            codes.update(("validation_failed", "body_too_large"))
        if LIMIT in self.parameters:
            codes.add("validation_failed")
        return codes


def answer(
    description: str, schema: Schema, media_type: str = JSON, /, **headers: Schema
) -> dict[str, Mapping[str, Any]]:
    """The one answer that most operations have: 200."""
    return {"200": response(description, {media_type: schema}, **headers)}


def response(description: str, content: Mapping[str, Schema], **headers: Schema) -> dict[str, Any]:
    """An answer; `_` in the name of a header is a hyphen."""
    told: dict[str, Any] = {"description": description}
    if content:
        told["content"] = {media_type: {"schema": schema} for media_type, schema in content.items()}
    if headers:
        told["headers"] = {
            name.replace("_", "-"): {"required": True, "schema": schema} for name, schema in headers.items()
        }
    return told


def refusals(codes: Iterable[str]) -> dict[str, Any]:
    """The answers that say no, by status, each with the codes that it may carry."""
    by_status: dict[str, list[str]] = {}
    for code in sorted(codes, key=lambda code: (STATUS_BY_CODE[code], code)):
        by_status.setdefault(str(STATUS_BY_CODE[code]), []).append(code)
    return {status: _refusal(status, found) for status, found in by_status.items()}


def _refusal(status: str, codes: Sequence[str]) -> dict[str, Any]:
    named = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
    headers = {"Retry_After": COUNT} if status == str(STATUS_BY_CODE["rate_limited"]) else {}
    return response(f"Refused: {', '.join(codes)}.", {JSON: {"allOf": [ref("ErrorEnvelope"), named]}}, **headers)
