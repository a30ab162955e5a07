"""The sandbox's own OpenAPI document, built from its routes. A reconstruction: the service's document is not public."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from .refused import STATUS_OF
from .routes import Route

JSON: Final = "application/json"


def document(routes: Iterable[Route], base_url: str) -> bytes:
    """The document, as JSON, for a server at this address."""
    return _document(tuple(routes), base_url)


@cache
def _document(routes: tuple[Route, ...], base_url: str) -> bytes:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Rivya API v1 (sandbox)",
            "version": "v1",
            "description": "A reconstruction from the public pages, as the rivya_async sandbox serves it.",
        },
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
            "responses": {"Error": _content("Refused.", _ref("ErrorEnvelope"))},
            "schemas": SCHEMAS,
        },
    }
    return json.dumps(whole).encode()


def _operation(route: Route) -> dict[str, Any]:
    described = OPERATIONS[route.name]
    names = re.findall(r"{(\w+)}", route.path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    parameters += described.get("parameters", [])
    operation: dict[str, Any] = {
        "operationId": described["id"],
        "summary": described["summary"],
        "security": [] if route.scope is None else [{"apiKey": []}],
        "responses": {"200": described["answer"], "default": {"$ref": "#/components/responses/Error"}},
    }
    if route.scope is not None:
        operation["description"] = f"Needs the scope {route.scope}."
    if parameters:
        operation["parameters"] = parameters
    for media_type, member in ((JSON, "body"), ("multipart/form-data", "form")):
        if member in described:
            operation["requestBody"] = {"required": True, "content": {media_type: {"schema": described[member]}}}
    return operation


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(description: str, schema: Mapping[str, Any], media_type: str = JSON) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _object(required: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


STRING: Final = {"type": "string"}
INTEGER: Final = {"type": "integer"}
INSTANT: Final = {"type": "string", "format": "date-time"}
URL: Final = {"type": "string", "format": "uri"}
STRINGS: Final = {"type": "array", "items": STRING}

EVENT_TYPES: Final = {"type": "array", "items": {"enum": ["generation.succeeded", "generation.failed"]}}


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


SCHEMAS: Final = {
    "GenerationRequest": _object(
        "model",
        model=STRING,
        prompt=STRING,
        params={"type": "object"},
        client_request_id={"type": "string", "maxLength": 128},
    ),
    "Generation": _object(
        "id status model reserved_credits final_credits created_at updated_at result error",
        id=STRING,
        status={"enum": ["queued", "processing", "succeeded", "failed"]},
        model=STRING,
        reserved_credits=INTEGER,
        final_credits=INTEGER,
        created_at=INSTANT,
        updated_at=INSTANT,
        result=_or_null(_object("primary_url urls", primary_url=URL, urls={"type": "array", "items": URL})),
        error=_or_null(_object("code message", code=STRING, message=STRING)),
    ),
    "FileUpload": _object(
        "file kind",
        file={"type": "string", "format": "binary"},
        kind={"enum": ["image", "video", "audio"]},
        model=STRING,
        client_request_id={"type": "string", "maxLength": 128},
    ),
    "PublicApiFile": _object(
        "id object kind url",
        id=STRING,
        object={"const": "file"},
        kind={"enum": ["image", "video", "audio"]},
        url=URL,
        name=STRING,
        mime_type=STRING,
        size_bytes=INTEGER,
        duration_seconds=_or_null({"type": "number"}),
        duration_token=_or_null(STRING),
        model=_or_null(STRING),
        client_request_id=_or_null(STRING),
        created_at=INSTANT,
    ),
    "Credits": _object("current_credits", current_credits=INTEGER),
    "Model": _object(
        "id display_name category base_credits api_status params",
        id=STRING,
        display_name=STRING,
        category={"enum": ["image", "video", "audio", "chat"]},
        runtime=STRING,
        base_credits=INTEGER,
        billing_type={"enum": ["FIXED", "METERED", "TOKEN_BASED"]},
        supported_modes=STRINGS,
        max_prompt_length=_or_null(INTEGER),
        reference_media=_or_null({"type": "object"}),
        params={"type": "array", "items": {"type": "object"}},
        api_status={"enum": ["available", "coming_soon", "studio_only"]},
        api_input_status=STRING,
        supported_api_inputs=STRINGS,
        file_kinds=STRINGS,
    ),
    "ModelList": _object("object data", object={"const": "list"}, data={"type": "array", "items": _ref("Model")}),
    "ChatRequest": _object(
        "model message",
        model=STRING,
        message=STRING,
        session_id=STRING,
        attachments={"type": "array", "items": _object("file_id", file_id=STRING)},
        enable_web_search={"type": "boolean"},
        include_thoughts={"type": "boolean"},
        reasoning_effort={"enum": ["default", "minimal", "low", "medium", "high", "xhigh"]},
        client_request_id={"type": "string", "maxLength": 128},
    ),
    "ChatCompletion": _object(
        "id object session_id model created_at message usage credits",
        id=STRING,
        object={"const": "chat.completion"},
        session_id=STRING,
        model=STRING,
        created_at=INSTANT,
        message=_object("id role content", id=STRING, role=STRING, content=STRING),
        usage=_object(
            "input_tokens output_tokens total_tokens",
            input_tokens=INTEGER,
            output_tokens=INTEGER,
            total_tokens=INTEGER,
        ),
        credits=_object("reserved final", reserved=INTEGER, final=INTEGER),
    ),
    "ChatMessage": _object("id role content created_at", id=STRING, role=STRING, content=STRING, created_at=INSTANT),
    "ChatSession": _object(
        "id object model title created_at updated_at",
        id=STRING,
        object={"const": "chat.session"},
        model=STRING,
        title=STRING,
        created_at=INSTANT,
        updated_at=INSTANT,
        messages={"type": "array", "items": _ref("ChatMessage")},
    ),
    "ChatSessionList": _object(
        "object data", object={"const": "list"}, data={"type": "array", "items": _ref("ChatSession")}
    ),
    "WebhookRequest": _object("name url event_types", name=STRING, url=URL, event_types=EVENT_TYPES),
    "WebhookChanges": _object(
        "", name=STRING, url=URL, event_types=EVENT_TYPES, status={"enum": ["active", "disabled"]}
    ),
    "WebhookEndpoint": _object(
        "id object name url event_types status secret_preview failure_count created_at updated_at",
        id=STRING,
        object={"const": "webhook_endpoint"},
        name=STRING,
        url=URL,
        event_types=EVENT_TYPES,
        status={"enum": ["active", "disabled", "revoked"]},
        secret_preview=STRING,
        signing_secret=STRING,
        failure_count=INTEGER,
        **dict.fromkeys(("created_at", "updated_at"), INSTANT),
        **dict.fromkeys(("last_success_at", "last_failure_at", "disabled_at", "revoked_at"), _or_null(INSTANT)),
    ),
    "WebhookEndpointList": _object(
        "object data", object={"const": "list"}, data={"type": "array", "items": _ref("WebhookEndpoint")}
    ),
    "WebhookDelivery": _object(
        "id object endpoint_id event_id event_type status attempt response_status error created_at delivered_at",
        id=STRING,
        object={"const": "webhook_delivery"},
        endpoint_id=STRING,
        event_id=STRING,
        event_type=STRING,
        status={"enum": ["pending", "succeeded", "failed"]},
        attempt=INTEGER,
        response_status=_or_null(INTEGER),
        error=_or_null(STRING),
        created_at=INSTANT,
        delivered_at=_or_null(INSTANT),
    ),
    "WebhookDeliveryList": _object(
        "object data", object={"const": "list"}, data={"type": "array", "items": _ref("WebhookDelivery")}
    ),
    "WebhookEvent": _object(
        "id type api_version created_at data",
        id=STRING,
        type=STRING,
        api_version=STRING,
        created_at=INSTANT,
        data=_ref("Generation"),
    ),
    "WebhookEventList": _object(
        "object data", object={"const": "list"}, data={"type": "array", "items": _ref("WebhookEvent")}
    ),
    "ErrorEnvelope": _object(
        "error",
        error=_object(
            "code message requestId",
            code={"type": "string", "examples": sorted(STATUS_OF)},
            message=STRING,
            requestId=STRING,
        ),
    ),
}

KEY_HEADER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

LIMIT: Final = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
}

OPERATIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "GET /api/v1/models": {
        "id": "listModels",
        "summary": "All models of the public layer.",
        "answer": _content("The models.", _ref("ModelList")),
    },
    "GET /api/v1/openapi.json": {
        "id": "getOpenApi",
        "summary": "This document.",
        "answer": _content("This document.", {"type": "object"}),
    },
    "POST /api/v1/generations": {
        "id": "createGeneration",
        "summary": "Order an image, a video or a sound.",
        "parameters": [KEY_HEADER],
        "body": _ref("GenerationRequest"),
        "answer": _content("The queued generation, or the stored answer of a replayed key.", _ref("Generation")),
    },
    "GET /api/v1/generations/{task_id}": {
        "id": "getGeneration",
        "summary": "One generation as it stands now.",
        "answer": _content("The generation.", _ref("Generation")),
    },
    "POST /api/v1/chat/completions": {
        "id": "createChatCompletion",
        "summary": "Ask a chat model.",
        "parameters": [KEY_HEADER],
        "body": _ref("ChatRequest"),
        "answer": _content("The answer, or the stored one of a replayed key.", _ref("ChatCompletion")),
    },
    "POST /api/v1/chat/completions/stream": {
        "id": "streamChatCompletion",
        "summary": "Ask a chat model, answered in pieces.",
        "parameters": [KEY_HEADER],
        "body": _ref("ChatRequest"),
        "answer": _content(
            "Events message.started, message.delta and message.completed, or error.", STRING, "text/event-stream"
        ),
    },
    "GET /api/v1/chat/sessions": {
        "id": "listChatSessions",
        "summary": "The account's chat sessions, the newest first.",
        "parameters": [LIMIT],
        "answer": _content("The sessions.", _ref("ChatSessionList")),
    },
    "GET /api/v1/chat/sessions/{session_id}": {
        "id": "getChatSession",
        "summary": "One chat session with its messages.",
        "answer": _content("The session.", _ref("ChatSession")),
    },
    "POST /api/v1/files": {
        "id": "createFile",
        "summary": "Upload an image, a video or a sound to refer to.",
        "form": _ref("FileUpload"),
        "answer": _content("The file.", _ref("PublicApiFile")),
    },
    "GET /api/v1/files/{file_id}": {
        "id": "getFile",
        "summary": "One uploaded file.",
        "answer": _content("The file.", _ref("PublicApiFile")),
    },
    "GET /api/v1/credits": {
        "id": "getCredits",
        "summary": "What the account can spend.",
        "answer": _content("The balance.", _ref("Credits")),
    },
    "POST /api/v1/webhooks": {
        "id": "createWebhook",
        "summary": "Have ended generations told to a URL.",
        "body": _ref("WebhookRequest"),
        "answer": _content("The endpoint, with its secret this once.", _ref("WebhookEndpoint")),
    },
    "GET /api/v1/webhooks": {
        "id": "listWebhooks",
        "summary": "The endpoints, the newest first.",
        "parameters": [LIMIT],
        "answer": _content("The endpoints.", _ref("WebhookEndpointList")),
    },
    "GET /api/v1/webhooks/{endpoint_id}": {
        "id": "getWebhook",
        "summary": "One endpoint.",
        "answer": _content("The endpoint.", _ref("WebhookEndpoint")),
    },
    "PATCH /api/v1/webhooks/{endpoint_id}": {
        "id": "updateWebhook",
        "summary": "Change an endpoint.",
        "body": _ref("WebhookChanges"),
        "answer": _content("The endpoint.", _ref("WebhookEndpoint")),
    },
    "DELETE /api/v1/webhooks/{endpoint_id}": {
        "id": "deleteWebhook",
        "summary": "Revoke an endpoint.",
        "answer": _content("The revoked endpoint.", _ref("WebhookEndpoint")),
    },
    "POST /api/v1/webhooks/{endpoint_id}/rotate-secret": {
        "id": "rotateWebhookSecret",
        "summary": "A new secret; the old one is dead at once.",
        "answer": _content("The endpoint, with its secret this once.", _ref("WebhookEndpoint")),
    },
    "POST /api/v1/webhooks/{endpoint_id}/test": {
        "id": "testWebhook",
        "summary": "Send an invented event once.",
        "answer": _content("What came of it.", _ref("WebhookDelivery")),
    },
    "GET /api/v1/webhooks/{endpoint_id}/deliveries": {
        "id": "listWebhookDeliveries",
        "summary": "What was sent to an endpoint, the newest first.",
        "parameters": [LIMIT],
        "answer": _content("The deliveries.", _ref("WebhookDeliveryList")),
    },
    "GET /api/v1/webhook-events": {
        "id": "listWebhookEvents",
        "summary": "What webhooks tell of, the newest first.",
        "parameters": [LIMIT],
        "answer": _content("The events.", _ref("WebhookEventList")),
    },
    "GET /files/{name}": {
        "id": "getUploadedFile",
        "summary": "The content of an uploaded file; needs no key.",
        "answer": _content("The file.", {"type": "string", "format": "binary"}, "application/octet-stream"),
    },
    "GET /results/{task_id}/{name}": {
        "id": "getResultFile",
        "summary": "A file of a succeeded generation; needs no key.",
        "answer": _content("The file.", {"type": "string", "format": "binary"}, "application/octet-stream"),
    },
}
"""What a document says of each route, by its name."""
