"""Validation of chat requests: functions of the body, which raise `ApiError`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..catalogue import REASONING_EFFORTS, WEB_SEARCH_MODELS, Catalogue, Model
from ..responses import ApiError, validation_error
from ..validation import validate_client_request_id

GetFileKind = Callable[[str, str], str | None]
"""Returns the kind of the file of an account id and a file id; None without such a file."""


def resolve_chat_model(catalogue: Catalogue, body: Mapping[str, Any]) -> Model:
    """Returns the chat model that the body names."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise validation_error("model must be the id of a chat model.")
    model = catalogue.models.get(name)
    if model is None or not model.is_chat or not model.is_available:
        raise ApiError("chat_model_not_supported", f"{name[:80]!r} is not available in the Chat API.")
    return model


def check_fields(model: Model, body: Mapping[str, Any]) -> None:
    """Checks all members of the body but `model` and `attachments`."""
    problems = [*_message_problems(model, body.get("message")), *_option_problems(model, body)]
    if problems:
        raise validation_error(" ".join(problems))


def parse_file_ids(body: Mapping[str, Any]) -> Sequence[str]:
    """Returns the file ids of the attachments."""
    items = body.get("attachments")
    if items is None:
        return []
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and isinstance(item.get("file_id"), str) for item in items
    ):
        raise validation_error('attachments must be a list of objects {"file_id": "file_..."}.')
    return [item["file_id"] for item in items]


def check_attachments(model: Model, account_id: str, file_ids: Sequence[str], get_file_kind: GetFileKind) -> None:
    """Checks that the model takes attachments, and that each is an uploaded image of this account."""
    if file_ids and not model.takes_files:
        raise ApiError("chat_attachment_not_supported", f"{model.id} takes no attachments.")
    for file_id in file_ids:
        if get_file_kind(account_id, file_id) != "image":
            raise ApiError(
                "chat_attachment_not_supported",
                f"{file_id[:80]} is not an image that this account uploaded through the Files API.",
            )


def _message_problems(model: Model, message: object) -> Iterator[str]:
    if not isinstance(message, str) or not message.strip():
        yield "message is required: one user message."
    elif model.max_prompt_length is not None and len(message) > model.max_prompt_length:
        yield f"message is too long for {model.id}: {len(message)} of at most {model.max_prompt_length} characters."


def _option_problems(model: Model, body: Mapping[str, Any]) -> Iterator[str]:
    if "messages" in body:
        yield "messages is not a field: send one message, and session_id to continue a session."
    for name in ("enable_web_search", "include_thoughts"):
        if not isinstance(body.get(name), bool | None):
            yield f"{name} must be true or false."
        elif body.get(name) and model.id not in WEB_SEARCH_MODELS:
            yield f"{model.id} does not support {name}."
    if not isinstance(body.get("session_id"), str | None):
        yield "session_id must be a string."
    if body.get("reasoning_effort") not in (None, *REASONING_EFFORTS):
        yield f"reasoning_effort must be one of {', '.join(REASONING_EFFORTS)}."
    yield from validate_client_request_id(body)
