"""`rivya webhooks`: endpoints at the service, their deliveries and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from ..._core.terminal_text import to_one_line
from ..command import RivyaGroup, command
from ..exit_codes import ExitCode
from ..options import POSITIVE
from ..render import record_to_json
from .webhook_delivery import sign

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..._core.webhooks.records import WebhookDelivery, WebhookEndpoint, WebhookEvent
    from ..output import Output
    from ..run import CommandContext

EVENT_TYPES: Final = ("generation.succeeded", "generation.failed")

DELIVERY_HEADERS: Final = ("ID", "AT", "EVENT", "ATTEMPT", "STATUS", "ANSWER")

id_argument = click.argument("endpoint_id", metavar="ID")
limit_option = click.option("--limit", metavar="N", type=POSITIVE, help="At most N.")
name_option = click.option("--name", metavar="NAME", help="Name of the endpoint.")
events_option = click.option(
    "--event", "events", metavar="TYPE", multiple=True, help="Only events of this type (repeatable)."
)


@click.group(cls=RivyaGroup)
def webhooks() -> None:
    """Manage webhook endpoints, and show deliveries and events.

    sign makes a signed delivery of a made-up event: it needs no account, and shows it or posts it to a receiver.
    RIVYA_WEBHOOK_SECRET holds the signing secret. create and rotate show the signing secret, nothing else does.
    A test that the receiver does not accept ends with exit code 6.
    --json: a line for each endpoint, delivery or event.

    Examples:
      rivya webhooks create https://hooks.example.org/rivya --event generation.succeeded
      rivya webhooks list
      rivya webhooks test whend_ab12
      rivya webhooks deliveries whend_ab12 --limit 5
      rivya webhooks update whend_ab12 --status disabled
      rivya webhooks events --json
      rivya webhooks sign --to http://127.0.0.1:8000/hook
    """


@command("list", webhooks)
@limit_option
async def list_endpoints(context: CommandContext, *, limit: int | None) -> None:
    """List the endpoints."""
    async with context.open_session() as session:
        endpoints = await session.webhooks.list(limit)
    rows = [
        (each.id, each.status, each.name, each.url, ", ".join(each.event_types), str(each.failure_count))
        for each in endpoints
    ]
    headers = ("ID", "STATUS", "NAME", "URL", "EVENTS", "FAILURES")
    _write_records(list(map(_endpoint_to_json, endpoints)), headers, rows, context.output)


@command("create", webhooks)
@click.argument("url")
@name_option
@events_option
async def create(context: CommandContext, *, url: str, name: str | None, events: tuple[str, ...]) -> None:
    """Create an endpoint for a URL."""
    async with context.open_session() as session:
        endpoint = await session.webhooks.create(name or "rivya", url, events or EVENT_TYPES)
    _write_endpoint(endpoint, context.output, shows_secret=True)


@command("show", webhooks)
@id_argument
async def show(context: CommandContext, *, endpoint_id: str) -> None:
    """Show an endpoint."""
    async with context.open_session() as session:
        _write_endpoint(await session.webhooks.retrieve(endpoint_id), context.output)


@command("update", webhooks)
@id_argument
@name_option
@click.option("--url", metavar="URL", help="The new URL.")
@events_option
@click.option("--status", metavar="S", help="active or disabled.")
async def update(context: CommandContext, *, endpoint_id: str, events: tuple[str, ...], **changes: Any) -> None:
    """Change name, URL, event types or status of an endpoint."""
    async with context.open_session() as session:
        endpoint = await session.webhooks.update(endpoint_id, event_types=events or None, **changes)
    _write_endpoint(endpoint, context.output)


@command("delete", webhooks)
@id_argument
async def delete(context: CommandContext, *, endpoint_id: str) -> None:
    """Delete an endpoint."""
    async with context.open_session() as session:
        _write_endpoint(await session.webhooks.delete(endpoint_id), context.output)


@command("rotate", webhooks)
@id_argument
async def rotate(context: CommandContext, *, endpoint_id: str) -> None:
    """Replace the signing secret of an endpoint."""
    async with context.open_session() as session:
        _write_endpoint(await session.webhooks.rotate_secret(endpoint_id), context.output, shows_secret=True)


@command("test", webhooks)
@id_argument
async def test(context: CommandContext, *, endpoint_id: str) -> int:
    """Have the service deliver a test event. Ends with exit code 6 if the receiver does not accept it."""
    async with context.open_session() as session:
        delivery = await session.webhooks.test(endpoint_id)
    _write_records([record_to_json(delivery)], DELIVERY_HEADERS, [_delivery_row(delivery)], context.output)
    return ExitCode.SERVICE if delivery.status == "failed" else ExitCode.OK


@command("deliveries", webhooks)
@id_argument
@limit_option
async def deliveries(context: CommandContext, *, endpoint_id: str, limit: int | None) -> None:
    """List the deliveries to an endpoint."""
    async with context.open_session() as session:
        found = await session.webhooks.deliveries(endpoint_id, limit)
    _write_records(list(map(record_to_json, found)), DELIVERY_HEADERS, list(map(_delivery_row, found)), context.output)


@command("events", webhooks)
@limit_option
async def list_events(context: CommandContext, *, limit: int | None) -> None:
    """List the events of the account."""
    async with context.open_session() as session:
        found = await session.webhook_events.list(limit)
    rows = [
        (each.id, _format_time(each.created_at), each.type, each.generation.id if each.generation else "")
        for each in found
    ]
    _write_records(list(map(record_to_json, found)), ("ID", "AT", "EVENT", "TASK"), rows, context.output)


webhooks.add_command(sign)


def _write_records(
    values: Sequence[dict[str, Any]], headers: Sequence[str], rows: Sequence[Sequence[str]], output: Output
) -> None:
    if output.is_json:
        for value in values:
            output.write_result(value)
    elif rows:
        output.write_table(headers, rows, right={"FAILURES", "ATTEMPT"}, dim={"ID", "AT"})
    else:
        output.write_note("there are none yet")


def _write_endpoint(endpoint: WebhookEndpoint, output: Output, *, shows_secret: bool = False) -> None:
    """Writes a line for the endpoint, one for its events, and one for the secret if it is shown."""
    failures = f"{endpoint.failure_count} failures in a row" if endpoint.failure_count else ""
    lines = [
        f"{endpoint.id}  {endpoint.status}  {endpoint.name}  {endpoint.url}",
        f"{', '.join(endpoint.event_types)}  {failures}",
        *([endpoint.signing_secret] if shows_secret and endpoint.signing_secret else []),
    ]
    value = _endpoint_to_json(endpoint, shows_secret=shows_secret)
    output.write_result(value, text="\n  ".join(map(to_one_line, lines)))
    if shows_secret:
        output.write_note("Keep the signing secret: it is shown only this once.")


def _endpoint_to_json(endpoint: WebhookEndpoint, *, shows_secret: bool = False) -> dict[str, Any]:
    value: dict[str, Any] = record_to_json(endpoint)
    if not shows_secret:
        del value["signing_secret"]
    return value


def _delivery_row(delivery: WebhookDelivery) -> Sequence[str]:
    status = "" if delivery.response_status is None else str(delivery.response_status)
    return (
        delivery.id,
        _format_time(delivery.delivered_at or delivery.created_at),
        delivery.event_type or "",
        "" if delivery.attempt is None else str(delivery.attempt),
        delivery.status,
        delivery.error or status,
    )


def format_event(event: WebhookEvent, received_at: datetime, *marks: str) -> str:
    """Returns a received event in one line: the job's state, and the marks of what happened to the delivery."""
    job = event.generation
    words = [f"{received_at:%H:%M:%S}", event.id, event.type, *([job.id, job.status, *job.urls] if job else []), *marks]
    return "  ".join(map(to_one_line, words))


def _format_time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"
