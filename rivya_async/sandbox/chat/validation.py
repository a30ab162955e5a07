"""Whether a message may be sent to a chat model: pure functions of its body, which raise `Refused`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..api_error import ApiError
from ..catalogue import REASONING_EFFORTS, Catalogue, Model
from ..validation import CLIENT_REQUEST_ID_MAX_LENGTH

KindOf = Callable[[str, str], str | None]
"""The kind of the file of this account and id; None where there is none."""


def chat_model(catalogue: Catalogue, body: Mapping[str, Any]) -> Model:
    """The model that the body names."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise ApiError("validation_failed", "model must be the id of a chat model.")
    model = catalogue.models.get(name)
    if model is None or not model.is_chat or not model.is_available:
        raise ApiError("chat_model_not_supported", f"{name[:80]!r} is not available to the Chat API.")
    return model


def check_fields(model: Model, body: Mapping[str, Any]) -> None:
    """The other members of the body but `attachments`."""
    found = [*_message_problems(model, body.get("message")), *_option_problems(body)]
    if found:
        raise ApiError("validation_failed", " ".join(found))


def file_ids(body: Mapping[str, Any]) -> Sequence[str]:
    """The ids of the attachments."""
    items = body.get("attachments")
    if items is None:
        return []
    shapely = isinstance(items, list) and all(
        isinstance(item, dict) and isinstance(item.get("file_id"), str) for item in items
    )
    if not shapely:
        raise ApiError("validation_failed", 'attachments must be a list of objects {"file_id": "file_..."}.')
    return [item["file_id"] for item in items]


def check_attachments(model: Model, account_id: str, ids: Sequence[str], kind_of: KindOf) -> None:
    """Every attachment is a picture that this account has uploaded, and the model looks at pictures."""
    if ids and not model.takes_files:
        raise ApiError("chat_attachment_not_supported", f"{model.id} takes no attachments.")
    for file_id in ids:
        if kind_of(account_id, file_id) != "image":
            raise ApiError(
                "chat_attachment_not_supported",
                f"{file_id[:80]} is not an image that was uploaded through the Files API by this account.",
            )


def _message_problems(model: Model, message: object) -> Iterator[str]:
    if not isinstance(message, str) or not message.strip():
        yield "message is required: one user message."
    elif model.max_prompt_length is not None and len(message) > model.max_prompt_length:
        yield f"message is too long for {model.id}: {len(message)} of at most {model.max_prompt_length} characters."


def _option_problems(body: Mapping[str, Any]) -> Iterator[str]:
    if "messages" in body:
        yield "messages is not a field: send one message, and session_id to go on with a session."
    for name in ("enable_web_search", "include_thoughts"):
        if not isinstance(body.get(name), bool | None):
            yield f"{name} must be true or false."
    if not isinstance(body.get("session_id"), str | None):
        yield "session_id must be a string."
    if body.get("reasoning_effort") not in (None, *REASONING_EFFORTS):
        yield f"reasoning_effort must be one of {', '.join(REASONING_EFFORTS)}."
    trace_id = body.get("client_request_id")
    if trace_id is not None and (not isinstance(trace_id, str) or len(trace_id) > CLIENT_REQUEST_ID_MAX_LENGTH):
        yield f"client_request_id must be a string of at most {CLIENT_REQUEST_ID_MAX_LENGTH} characters."
