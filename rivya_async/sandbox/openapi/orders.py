"""What each model takes in an order, as a schema of its own: the rules of validation, said once more by other means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..catalogue import Model, Param, ReferenceRule, load_catalogue
from ..validation import REFERENCE_KEY
from .schema import NEVER, NUMBER, STRING, TEXT, TRACE_ID, URL, Schema, array, or_null, record, ref, shape

MODELS: Final = [model for model in load_catalogue().models.values() if model.is_available and not model.is_chat]

REFERENCE: Final = {
    **shape(
        "url kind",
        url={**URL, "minLength": 1},
        kind=TEXT,
        name=STRING,
        mimeType=STRING,
        durationSeconds=NUMBER,
        durationToken=STRING,
    ),
    "description": "An uploaded file. durationToken is required for audio and video.",
    "if": {"properties": {"kind": {"enum": ["audio", "video"]}}},
    "then": {"required": ["durationToken"], "properties": {"durationToken": TEXT}},
}


def name_of(model: Model) -> str:
    """The name of the schema of an order for this model."""
    return f"GenerationRequest.{model.id}"


def order(model: Model) -> Schema:
    """What an order for this model may hold. That a dialogue as a whole may be too long, no schema can say."""
    required = [param.key for param in model.params if param.required]
    params = {
        "type": "object",
        "required": required,
        "properties": {param.key: _value(param) for param in model.params} | {REFERENCE_KEY: _references(model)},
    }
    return {
        "type": "object",
        "required": ["model", *(["prompt"] if model.needs_prompt else []), *(["params"] if required else [])],
        "properties": {
            "model": {"const": model.id},
            "prompt": _prompt(model),
            "params": params if required else or_null(params),
            "client_request_id": or_null(TRACE_ID),
            "files": NEVER,
        },
    }


def any_order() -> Schema:
    """An order for any model."""
    names = {model.id: ref(name_of(model))["$ref"] for model in MODELS}
    return {
        "oneOf": [{"$ref": name} for name in names.values()],
        "discriminator": {"propertyName": "model", "mapping": names},
        "examples": [{"model": "z-image", "prompt": "A red kite", "params": {"aspect_ratio": "16:9"}}],
    }


def _prompt(model: Model) -> Schema:
    longest = {} if model.max_prompt_length is None else {"maxLength": model.max_prompt_length}
    prompt = {"type": "string", **longest}
    return {**prompt, "pattern": r"\S"} if model.needs_prompt else or_null(prompt)


def _value(param: Param) -> Schema:
    if param.type == "select":
        return {"type": "string", "enum": sorted(param.options)}
    if param.type == "number":
        bounds = {"minimum": param.min, "maximum": param.max}
        return {"type": "number", **{name: bound for name, bound in bounds.items() if bound is not None}}
    return array(record(voice=TEXT, text=TEXT), minItems=1) if param.type == "array" else STRING


def _references(model: Model) -> Schema:
    rule = model.references
    if rule is None:
        return {"type": "array", "maxItems": 0}
    whole = array(ref("ReferenceMediaItem"), maxItems=rule.max_items)
    if not rule.kinds_with_video:
        return {**whole, **_caps(rule, rule.kinds)}
    return {
        **whole,
        "if": {"contains": _of_kind("video")},
        "then": _caps(rule, rule.kinds_with_video),
        "else": _caps(rule, rule.kinds),
    }


def _caps(rule: ReferenceRule, caps: Mapping[str, int]) -> dict[str, Any]:
    """At most so many of each kind, and of no other."""
    kinds = {"items": {"properties": {"kind": {"enum": sorted(caps)}}}}
    bounded = [
        {"contains": _of_kind(kind), "minContains": 0, "maxContains": most}
        for kind, most in caps.items()
        if most < rule.max_items
    ]
    return {"allOf": [kinds, *bounded]}


def _of_kind(kind: str) -> Schema:
    return {"properties": {"kind": {"const": kind}}}
