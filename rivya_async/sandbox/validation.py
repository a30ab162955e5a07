"""Validation of generation requests: functions from a body to its problems.

Assumed: unknown keys of `params` are ignored, and everything else that breaks a documented rule is a problem. The
`step` of a number is not checked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .catalogue import Catalogue, Model, Param, ReferenceRule

CLIENT_REQUEST_ID_MAX_LENGTH: Final = 128
"""Characters. Documented for uploads, assumed for all requests."""

REFERENCE_KEY: Final = "referenceMediaItems"


def validate_generation(catalogue: Catalogue, body: Mapping[str, Any]) -> list[str]:
    """Returns the problems of the body of `POST /generations`; none if it is valid."""
    model = catalogue.models.get(body["model"]) if isinstance(body.get("model"), str) else None
    if model is None:
        return [f"model {str(body.get('model'))[:80]!r} is not a model of this API."]
    if model.is_chat:
        return [f"{model.id} is a chat model: use POST /api/v1/chat/completions."]
    if not model.is_available:
        return [f"{model.id} is not available through the API."]
    problems = [f"files is not a field: references go into params.{REFERENCE_KEY}."] if "files" in body else []
    params = {} if body.get("params") is None else body["params"]
    return [*problems, *validate_client_request_id(body), *validate_input(model, body.get("prompt"), params)]


def validate_client_request_id(body: Mapping[str, Any]) -> Iterator[str]:
    """Yields the problem of the optional member `client_request_id`, if any."""
    value = body.get("client_request_id")
    if value is not None and (not isinstance(value, str) or len(value) > CLIENT_REQUEST_ID_MAX_LENGTH):
        yield f"client_request_id must be a string of at most {CLIENT_REQUEST_ID_MAX_LENGTH} characters."


def validate_input(model: Model, prompt: object, params: object) -> list[str]:
    """Returns the problems of a prompt and params for a model."""
    problems = list(_prompt_problems(model, prompt))
    if not isinstance(params, Mapping):
        return [*problems, "params must be an object."]
    for param in model.params:
        problems += _param_problems(model, param, params)
    return [*problems, *_reference_problems(model, params.get(REFERENCE_KEY, []))]


def _prompt_problems(model: Model, prompt: object) -> Iterator[str]:
    if prompt is not None and not isinstance(prompt, str):
        yield "prompt must be a string."
    elif model.needs_prompt and not (prompt or "").strip():
        yield f"prompt is required for {model.id}."
    elif prompt is not None and model.max_prompt_length is not None and len(prompt) > model.max_prompt_length:
        yield f"prompt is too long for {model.id}: {len(prompt)} of at most {model.max_prompt_length} characters."


def _param_problems(model: Model, param: Param, params: Mapping[str, Any]) -> Iterator[str]:
    value = params.get(param.key)
    if value is None and (param.required or param.key not in params):
        if param.required:
            yield f"params.{param.key} is required for {model.id}."
    elif param.type == "select":
        if not isinstance(value, str) or value not in param.options:
            yield f"params.{param.key} must be one of the strings {', '.join(sorted(param.options))}."
    elif param.type == "number":
        yield from _number_problems(param, value)
    elif param.type == "array":
        yield from _dialogue_problems(model, param.key, value)
    elif not isinstance(value, str):
        yield f"params.{param.key} must be a string."


def _number_problems(param: Param, value: object) -> Iterator[str]:
    low = -math.inf if param.min is None else param.min
    high = math.inf if param.max is None else param.max
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        yield f"params.{param.key} must be a number."
    elif not low <= value <= high:
        yield f"params.{param.key} must be from {low:g} to {high:g}."


def _dialogue_problems(model: Model, key: str, value: object) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"params.{key} must be a list of at least one line."
        return
    total = 0
    for index, line in enumerate(value):
        if not isinstance(line, Mapping) or not _is_text(line.get("voice")) or not _is_text(line.get("text")):
            yield f"params.{key}[{index}] must be an object with the strings voice and text."
            return
        total += len(line["text"])
    if model.max_prompt_length is not None and total > model.max_prompt_length:
        yield f"params.{key} is too long for {model.id}: {total} of at most {model.max_prompt_length} characters."


def _reference_problems(model: Model, items: object) -> Iterator[str]:
    if not isinstance(items, list):
        yield f"params.{REFERENCE_KEY} must be a list."
    elif items and model.references is None:
        yield f"{model.id} takes no references."
    elif items and model.references is not None:
        malformed = [text for index, item in enumerate(items) for text in _item_problems(index, item)]
        yield from malformed or _count_problems(model, model.references, items)


def _item_problems(index: int, item: object) -> Iterator[str]:
    where = f"params.{REFERENCE_KEY}[{index}]"
    if not isinstance(item, Mapping) or not _is_text(item.get("url")) or not _is_text(item.get("kind")):
        yield f"{where} must be an object with the strings url and kind."
    elif item["kind"] in {"audio", "video"} and not _is_text(item.get("durationToken")):
        yield f"{where}.durationToken is required for {item['kind']}: upload it through the Files API."


def _count_problems(model: Model, rule: ReferenceRule, items: list[Mapping[str, Any]]) -> Iterator[str]:
    given = Counter(str(item["kind"]) for item in items)
    caps = rule.kinds_with_video if rule.kinds_with_video and given["video"] else rule.kinds
    if len(items) > rule.max_items:
        yield f"{model.id} takes at most {rule.max_items} references."
    for kind, count in given.items():
        if count > caps.get(kind, 0):
            yield f"{model.id} takes at most {caps.get(kind, 0)} references of kind {kind!r} here."


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
