"""`rivya webhooks`: where the service tells of ended jobs, and what it has told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError
from .exit_codes import ExitCode
from .target import embedded, service
from .webhook_render import delivery_grid, endpoint_grid, endpoint_json, endpoint_text, event_grid, record_json
from .webhook_sign import sign

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from .._core.webhook_records import WebhookDelivery, WebhookEndpoint, WebhookEvent
    from ..session import RivyaSession
    from .grid import Grid
    from .jobs import JobList
    from .output import Output

EVENT_TYPES: Final = ("generation.succeeded", "generation.failed")

NAME: Final = "rivya"
"""Of an endpoint for which none is given."""

OPTIONS: Final = {
    "list": {"limit"},
    "create": {"name", "event"},
    "show": set[str](),
    "update": {"name", "url", "event", "status"},
    "delete": set[str](),
    "rotate": set[str](),
    "test": set[str](),
    "deliveries": {"limit"},
    "events": {"limit"},
    "sign": {"event", "to", "secret"},
}
"""What each action takes."""

WITHOUT_ID: Final = frozenset({"list", "events", "sign"})


async def run(arguments: Namespace, output: Output, _job_list: JobList) -> int:
    """Do one of the actions."""
    _check(arguments)
    if arguments.action == "sign":
        return await sign(arguments, output)
    opened = embedded(output, renders=False) if arguments.sandbox else service()
    async with opened as session:
        if arguments.action == "test":
            return _tell_test(await session.webhooks.test(arguments.id), output)
        if arguments.action in {"list", "deliveries", "events"}:
            await _list(session, arguments, output)
        else:
            endpoint = await _act(session, arguments)
            _tell(endpoint, output, is_new=arguments.action in {"create", "rotate"})
    return ExitCode.OK


def _check(arguments: Namespace) -> None:
    action = arguments.action
    if (arguments.id is None) is not (action in WITHOUT_ID):
        wants = {"create": "the URL", **dict.fromkeys(WITHOUT_ID, "no id")}.get(action, "the id of an endpoint")
        raise ConfigurationError(f"rivya webhooks {action} takes {wants}")
    given = {name for name in ("name", "url", "event", "status", "limit", "to", "secret") if getattr(arguments, name)}
    strange = sorted(given - OPTIONS[action])
    if strange:
        raise ConfigurationError(f"--{strange[0]} is not for rivya webhooks {action}")


async def _act(session: RivyaSession, arguments: Namespace) -> WebhookEndpoint:
    webhooks, name, events = session.webhooks, arguments.name, arguments.event
    match arguments.action:
        case "create":
            return await webhooks.create(name or NAME, arguments.id, events or EVENT_TYPES)
        case "show":
            return await webhooks.retrieve(arguments.id)
        case "update":
            return await webhooks.update(
                arguments.id, name=name, url=arguments.url, event_types=events or None, status=arguments.status
            )
        case "delete":
            return await webhooks.delete(arguments.id)
        case _:
            return await webhooks.rotate_secret(arguments.id)


async def _list(session: RivyaSession, arguments: Namespace, output: Output) -> None:
    limit = arguments.limit
    if arguments.action == "list":
        endpoints = await session.webhooks.list(limit)
        _show(endpoints, [endpoint_json(each) for each in endpoints], endpoint_grid(endpoints), output)
    elif arguments.action == "deliveries":
        deliveries = await session.webhooks.deliveries(arguments.id, limit)
        _show(deliveries, list(map(record_json, deliveries)), delivery_grid(deliveries), output)
    else:
        events = await session.webhook_events.list(limit)
        _show(events, list(map(record_json, events)), event_grid(events), output)


def _show(
    found: Sequence[WebhookEndpoint | WebhookDelivery | WebhookEvent],
    values: Sequence[dict[str, Any]],
    grid: Grid,
    output: Output,
) -> None:
    if output.is_json:
        for value in values:
            output.result(value)
    elif found:
        output.result({}, text=grid.show())
    else:
        output.note("there are none yet")


def _tell(endpoint: WebhookEndpoint, output: Output, *, is_new: bool) -> None:
    """An endpoint; its secret only if it is new, for it is told only once."""
    output.result(endpoint_json(endpoint, shows_secret=is_new), text=endpoint_text(endpoint, shows_secret=is_new))
    if is_new:
        output.note("Keep the signing secret: it is told only this once.")


def _tell_test(delivery: WebhookDelivery, output: Output) -> int:
    output.result(record_json(delivery), text=delivery_grid([delivery]).show() if not output.is_json else None)
    return ExitCode.SERVICE if delivery.status == "failed" else ExitCode.OK
