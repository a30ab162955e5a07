"""Webhooks as text for people and as JSON for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .chat_render import record_to_json
from .grid import Grid
from .render import to_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .._core.webhook_records import WebhookDelivery, WebhookEndpoint, WebhookEvent

FAINT = frozenset({"ID", "AT"})


def record_json(record: WebhookDelivery | WebhookEvent) -> dict[str, Any]:
    """A delivery or an event in the words of the API."""
    value: dict[str, Any] = record_to_json(record)
    return value


def endpoint_json(endpoint: WebhookEndpoint, *, shows_secret: bool = False) -> dict[str, Any]:
    """An endpoint in the words of the API."""
    value: dict[str, Any] = record_to_json(endpoint)
    if not shows_secret:
        del value["signing_secret"]
    return value


def endpoint_text(endpoint: WebhookEndpoint, *, shows_secret: bool = False) -> str:
    """A line, one with the events, and one with the secret if it is shown."""
    lines = [
        f"{endpoint.id}  {endpoint.status}  {endpoint.name}  {endpoint.url}",
        f"{', '.join(endpoint.event_types)}  {_failures(endpoint)}",
        *([endpoint.signing_secret] if shows_secret and endpoint.signing_secret else []),
    ]
    return "\n  ".join(map(to_one_line, lines))


def endpoint_grid(endpoints: Sequence[WebhookEndpoint]) -> Grid:
    """Endpoints in a list."""
    rows = [
        (each.id, each.status, each.name, each.url, ", ".join(each.event_types), str(each.failure_count))
        for each in endpoints
    ]
    return Grid(("ID", "STATUS", "NAME", "URL", "EVENTS", "FAILURES"), rows, right=frozenset({"FAILURES"}), faint=FAINT)


def delivery_grid(deliveries: Sequence[WebhookDelivery]) -> Grid:
    """Deliveries in a list."""
    rows = [
        (
            each.id,
            _when(each.delivered_at or each.created_at),
            each.event_type or "",
            "" if each.attempt is None else str(each.attempt),
            each.status,
            each.error or ("" if each.response_status is None else str(each.response_status)),
        )
        for each in deliveries
    ]
    return Grid(("ID", "AT", "EVENT", "ATTEMPT", "STATUS", "ANSWER"), rows, right=frozenset({"ATTEMPT"}), faint=FAINT)


def event_grid(events: Sequence[WebhookEvent]) -> Grid:
    """Events in a list."""
    rows = []
    for each in events:
        generation = each.generation
        rows.append((each.id, _when(each.created_at), each.type, "" if generation is None else generation.id))
    return Grid(("ID", "AT", "EVENT", "TASK"), rows, faint=FAINT)


def event_line(event: WebhookEvent, heard_at: datetime, *marks: str) -> str:
    """An event as it is heard: what it tells of a job, and the marks of what became of it."""
    generation = event.generation
    told = [] if generation is None else [generation.id, generation.status, *generation.urls]
    words = (f"{heard_at:%H:%M:%S}", event.id, event.type, *told, *marks)
    return "  ".join(map(to_one_line, words))


def _failures(endpoint: WebhookEndpoint) -> str:
    return f"{endpoint.failure_count} failures in a row" if endpoint.failure_count else ""


def _when(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
