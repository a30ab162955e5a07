"""The OpenAPI document of the sandbox: `openapi.json` with the parts that follow from the model catalogue filled in.

The file is a reconstruction; the service's own document is not public. It holds everything but the address of the
server, the ids of the chat models and one request schema per media model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .catalogue import Model, Param, ReferenceRule, load_catalogue
from .validation import CLIENT_REQUEST_ID_MAX_LENGTH, REFERENCE_KEY

Schema = Mapping[str, Any]


@cache
def load_document() -> Mapping[str, Any]:
    """Returns the document without its `servers`."""
    document: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]
    available = [model for model in load_catalogue().models.values() if model.is_available]
    schemas["ChatRequest"]["properties"]["model"]["enum"] = sorted(model.id for model in available if model.is_chat)
    media = {f"GenerationRequest.{model.id}": model for model in available if not model.is_chat}
    schemas |= {name: request_schema(model) for name, model in media.items()}
    refs = {model.id: f"#/components/schemas/{name}" for name, model in media.items()}
    schemas["GenerationRequest"]["oneOf"] = [{"$ref": ref} for ref in refs.values()]
    schemas["GenerationRequest"]["discriminator"]["mapping"] = refs
    return document


@cache
def render_document(base_url: str) -> bytes:
    """Returns the document as JSON for a server at this address."""
    return json.dumps({**load_document(), "servers": [{"url": base_url}]}).encode()


def request_schema(model: Model) -> Schema:
    """Returns the schema of `POST /generations` for this model.

    One rule of `validation` is missing, because JSON Schema cannot state it: the total length of a dialogue.
    """
    required = [param.key for param in model.params if param.required]
    properties = {param.key: _param_schema(param) for param in model.params}
    params = {
        "type": "object",
        "required": required,
        "properties": {**properties, REFERENCE_KEY: _references_schema(model.references)},
    }
    return {
        "type": "object",
        "required": ["model", *(["prompt"] if model.needs_prompt else []), *(["params"] if required else [])],
        "properties": {
            "model": {"const": model.id},
            "prompt": _prompt_schema(model),
            "params": params if required else _or_null(params),
            "client_request_id": _or_null({"type": "string", "maxLength": CLIENT_REQUEST_ID_MAX_LENGTH}),
            "files": False,
        },
    }


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _prompt_schema(model: Model) -> Schema:
    longest = {} if model.max_prompt_length is None else {"maxLength": model.max_prompt_length}
    prompt = {"type": "string", **longest}
    return {**prompt, "pattern": r"\S"} if model.needs_prompt else _or_null(prompt)


def _param_schema(param: Param) -> Schema:
    if param.type == "select":
        return {"type": "string", "enum": sorted(param.options)}
    if param.type == "number":
        bounds = {"minimum": param.min, "maximum": param.max}
        return {"type": "number", **{name: bound for name, bound in bounds.items() if bound is not None}}
    if param.type == "array":
        return {"type": "array", "items": {"$ref": "#/components/schemas/DialogueLine"}, "minItems": 1}
    return {"type": "string"}


def _references_schema(rule: ReferenceRule | None) -> Schema:
    if rule is None:
        return {"type": "array", "maxItems": 0}
    schema = {"type": "array", "items": {"$ref": "#/components/schemas/ReferenceMediaItem"}, "maxItems": rule.max_items}
    if not rule.kinds_with_video:
        return {**schema, **_kind_limits(rule, rule.kinds)}
    return {
        **schema,
        "if": {"contains": _of_kind("video")},
        "then": _kind_limits(rule, rule.kinds_with_video),
        "else": _kind_limits(rule, rule.kinds),
    }


def _kind_limits(rule: ReferenceRule, limits: Mapping[str, int]) -> Schema:
    """Allows the kinds that have a limit, each up to its limit."""
    allowed = {"items": {"properties": {"kind": {"enum": sorted(limits)}}}}
    bounded = [
        {"contains": _of_kind(kind), "minContains": 0, "maxContains": limit}
        for kind, limit in limits.items()
        if limit < rule.max_items
    ]
    return {"allOf": [allowed, *bounded]}


def _of_kind(kind: str) -> Schema:
    return {"properties": {"kind": {"const": kind}}}
