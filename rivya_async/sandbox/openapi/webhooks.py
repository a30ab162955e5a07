"""Webhooks, their deliveries and events in the document."""

from __future__ import annotations

from typing import Any, Final

from ..webhooks.endpoints import EVENT_TYPES, FIELDS, NAME_MAX_LENGTH
from ..webhooks.url_validation import MAX_LENGTH
from .operation import LIMIT, Operation, answer
from .schema import COUNT, INSTANT, STRING, TEXT, Schema, array, listing, or_null, record, ref, shape

_EVENT_TYPE: Final = {"enum": list(EVENT_TYPES)}

_WRITTEN: Final[dict[str, Schema]] = {
    "name": {"type": "string", "minLength": 1, "maxLength": NAME_MAX_LENGTH, "pattern": r"\S"},
    "url": {"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_LENGTH},
    "event_types": array(_EVENT_TYPE, minItems=1),
}

_ENDPOINT: Final[dict[str, Schema]] = {
    "id": TEXT,
    "object": {"const": "webhook_endpoint"},
    "name": TEXT,
    "url": TEXT,
    "event_types": array(_EVENT_TYPE, minItems=1),
    "status": {"enum": ["active", "disabled", "revoked"]},
    "secret_preview": TEXT,
    "failure_count": COUNT,
    **dict.fromkeys(("created_at", "updated_at"), INSTANT),
    **dict.fromkeys(("last_success_at", "last_failure_at", "disabled_at", "revoked_at"), or_null(INSTANT)),
}

SCHEMAS: Final = {
    "WebhookRequest": {
        **record(**_WRITTEN),
        "examples": [
            {"name": "Prod", "url": "https://hooks.example.org/rivya", "event_types": ["generation.succeeded"]}
        ],
    },
    "WebhookChanges": {
        **shape("", **_WRITTEN, status={"enum": ["active", "disabled"]}),
        "anyOf": [{"required": [name]} for name in FIELDS],
    },
    "WebhookEndpoint": record(**_ENDPOINT),
    "WebhookEndpointWithSecret": record(**_ENDPOINT, signing_secret=TEXT),
    "WebhookEndpointList": listing("WebhookEndpoint"),
    "WebhookDelivery": record(
        id=TEXT,
        object={"const": "webhook_delivery"},
        endpoint_id=TEXT,
        event_id=TEXT,
        event_type=_EVENT_TYPE,
        status={"enum": ["pending", "succeeded", "failed"]},
        attempt={"type": "integer", "minimum": 1},
        response_status=or_null(COUNT),
        error=or_null(STRING),
        created_at=INSTANT,
        delivered_at=or_null(INSTANT),
    ),
    "WebhookDeliveryList": listing("WebhookDelivery"),
    "WebhookEvent": record(id=TEXT, type=_EVENT_TYPE, api_version=TEXT, created_at=INSTANT, data=ref("Generation")),
    "WebhookEventList": listing("WebhookEvent"),
}

_SECRET_ONCE: Final = answer("The endpoint, with its secret this once.", ref("WebhookEndpointWithSecret"))
_ONE: Final = "/api/v1/webhooks/{endpoint_id}"


def _of_one(identity: str, summary: str, answers: Any, refuses: str = "", **more: Any) -> Operation:
    return Operation(identity, summary, answers, refuses=f"not_found {refuses}", **more)


OPERATIONS: Final = {
    "POST /api/v1/webhooks": Operation(
        "createWebhook",
        "Have ended generations told to a URL.",
        _SECRET_ONCE,
        refuses="webhook_url_rejected",
        body=ref("WebhookRequest"),
    ),
    "GET /api/v1/webhooks": Operation(
        "listWebhooks",
        "The endpoints, the newest first.",
        answer("The endpoints.", ref("WebhookEndpointList")),
        parameters=[LIMIT],
    ),
    f"GET {_ONE}": _of_one("getWebhook", "One endpoint.", answer("The endpoint.", ref("WebhookEndpoint"))),
    f"PATCH {_ONE}": _of_one(
        "updateWebhook",
        "Change an endpoint.",
        answer("The endpoint.", ref("WebhookEndpoint")),
        refuses="webhook_url_rejected",
        body=ref("WebhookChanges"),
    ),
    f"DELETE {_ONE}": _of_one(
        "deleteWebhook", "Revoke an endpoint.", answer("The revoked endpoint.", ref("WebhookEndpoint"))
    ),
    f"POST {_ONE}/rotate-secret": _of_one(
        "rotateWebhookSecret",
        "A new secret; the old one is dead at once. Not for a revoked endpoint.",
        _SECRET_ONCE,
        refuses="validation_failed",
    ),
    f"POST {_ONE}/test": _of_one(
        "testWebhook",
        "Send an invented event once. Not for a revoked endpoint.",
        answer("What came of it.", ref("WebhookDelivery")),
        refuses="validation_failed",
    ),
    f"GET {_ONE}/deliveries": _of_one(
        "listWebhookDeliveries",
        "What was sent to an endpoint, the newest first.",
        answer("The deliveries.", ref("WebhookDeliveryList")),
        parameters=[LIMIT],
    ),
    "GET /api/v1/webhook-events": Operation(
        "listWebhookEvents",
        "What webhooks tell of, the newest first.",
        answer("The events.", ref("WebhookEventList")),
        parameters=[LIMIT],
    ),
}
