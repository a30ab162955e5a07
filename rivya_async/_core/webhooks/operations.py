"""Operations of the webhook API (contract section 11): the request for arguments, and the record for a response.

None accepts a documented idempotency key. Only types are validated: the service validates URLs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import ConfigurationError, ResponseDecodeError
from ..http import serialization
from ..http.messages import Request
from ..http.operations import Operation, list_request, object_path, record_decoder, require_id
from .records import (
    WebhookDelivery,
    WebhookDeliveryList,
    WebhookEndpoint,
    WebhookEndpointList,
    WebhookEvent,
    WebhookEventList,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..http.messages import Response

R = TypeVar("R")

WEBHOOKS_PATH = "/api/v1/webhooks"
EVENTS_PATH = "/api/v1/webhook-events"


EXAMPLES: Final = {
    "name": "a name, such as 'production'",
    "url": "the https URL that receives the events",
    "status": "'active' or 'disabled'",
}
"""Valid values of the members of a request, as text for error messages."""


def create_webhook(name: str, url: str, event_types: Iterable[str]) -> Operation[WebhookEndpoint]:
    """Returns `POST /api/v1/webhooks`."""
    fields = _request_body({"name": name, "url": url, "event_types": event_types})
    return Operation(_action_request("POST", WEBHOOKS_PATH, fields), _decode_endpoint)


def list_webhooks(limit: int | None = None) -> Operation[tuple[WebhookEndpoint, ...]]:
    """Returns `GET /api/v1/webhooks`; `limit` is an assumption."""
    request = list_request(WEBHOOKS_PATH, limit)
    return Operation(request, lambda response: serialization.decode(response.body, WebhookEndpointList).data)


def retrieve_webhook(endpoint_id: str) -> Operation[WebhookEndpoint]:
    """Returns `GET /api/v1/webhooks/{endpointId}`."""
    return Operation(Request("GET", _endpoint_path(endpoint_id)), _endpoint_decoder(endpoint_id))


def update_webhook(endpoint_id: str, **changes: Any) -> Operation[WebhookEndpoint]:
    """Returns `PATCH /api/v1/webhooks/{endpointId}` without members that are None; its members are an assumption."""
    fields = _request_body({name: value for name, value in changes.items() if value is not None})
    if not fields:
        raise ConfigurationError("there is nothing to change: pass name, url, event_types or status")
    return Operation(_action_request("PATCH", _endpoint_path(endpoint_id), fields), _endpoint_decoder(endpoint_id))


def delete_webhook(endpoint_id: str) -> Operation[WebhookEndpoint]:
    """Returns `DELETE /api/v1/webhooks/{endpointId}`; its response, the revoked endpoint, is an assumption."""
    decode = _endpoint_decoder(endpoint_id)

    def decode_deleted(response: Response) -> WebhookEndpoint:
        return decode(response) if response.body.strip() else WebhookEndpoint(endpoint_id, status="revoked")

    return Operation(_action_request("DELETE", _endpoint_path(endpoint_id)), decode_deleted)


def rotate_secret(endpoint_id: str) -> Operation[WebhookEndpoint]:
    """Returns `POST /api/v1/webhooks/{endpointId}/rotate-secret`."""
    request = _action_request("POST", f"{_endpoint_path(endpoint_id)}/rotate-secret")
    return Operation(request, _endpoint_decoder(endpoint_id))


def test_webhook(endpoint_id: str) -> Operation[WebhookDelivery]:
    """Returns `POST /api/v1/webhooks/{endpointId}/test`; its response, the delivery, is an assumption."""
    request = _action_request("POST", f"{_endpoint_path(endpoint_id)}/test")
    return Operation(request, record_decoder(WebhookDelivery))


def list_deliveries(endpoint_id: str, limit: int | None = None) -> Operation[tuple[WebhookDelivery, ...]]:
    """Returns `GET /api/v1/webhooks/{endpointId}/deliveries`; `limit` is an assumption."""
    request = list_request(f"{_endpoint_path(endpoint_id)}/deliveries", limit)
    return Operation(request, lambda response: serialization.decode(response.body, WebhookDeliveryList).data)


def list_events(limit: int | None = None) -> Operation[tuple[WebhookEvent, ...]]:
    """Returns `GET /api/v1/webhook-events`; `limit` is an assumption."""
    request = list_request(EVENTS_PATH, limit)
    return Operation(request, lambda response: serialization.decode(response.body, WebhookEventList).data)


def _action_request(method: str, path: str, fields: Mapping[str, Any] | None = None) -> Request:
    body = None if fields is None else serialization.encode_json(fields)
    return Request(method, path, body=body, accepts_idempotency_key=False)


def _endpoint_path(endpoint_id: str) -> str:
    return object_path(WEBHOOKS_PATH, endpoint_id, "an endpoint id", "`id` of a WebhookEndpoint")


def _request_body(members: Mapping[str, Any]) -> dict[str, Any]:
    """Validates the types of members. Messages omit values: a URL may contain a password."""
    fields = dict(members)
    types = fields.pop("event_types", None)
    for name, text in fields.items():
        if not isinstance(text, str):
            raise ConfigurationError(f"{name} must be a string, not {type(text).__name__}")
        if not text.strip():
            raise ConfigurationError(f"{name} is blank: pass {EXAMPLES.get(name, 'a text')}")
    if "event_types" not in members:
        return fields
    event_types = [] if isinstance(types, str) or not isinstance(types, Iterable) else list(types)
    if not event_types or not all(isinstance(each, str) and each.strip() for each in event_types):
        raise ConfigurationError('event_types must be a list of strings, such as ["generation.succeeded"]')
    return {**fields, "event_types": event_types}


def _decode_endpoint(response: Response) -> WebhookEndpoint:
    """Returns the endpoint. Errors have no traceback, whose frames might contain the signing secret."""
    try:
        return serialization.decode(response.body, WebhookEndpoint)
    except ResponseDecodeError as error:
        raise error.with_traceback(None) from None


def _endpoint_decoder(endpoint_id: str) -> Callable[[Response], WebhookEndpoint]:
    return lambda response: require_id(_decode_endpoint(response), endpoint_id, "webhook endpoint")
