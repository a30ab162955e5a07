"""Webhook deliveries that this machine sends: `rivya webhooks sign`, and the client that posts them."""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from ..._core.errors import ConfigurationError, OutcomeUnknownError, RequestNotSentError
from ..._core.webhooks.signatures import RIVYA, Verifier
from ..._engine.environment import Environment
from ..command import command
from ..exit_codes import ExitCode
from ..options import secret_option
from ..session_factory import check_http_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import aiohttp

    from ..run import CommandContext

SECRET_VARIABLE: Final = "RIVYA_WEBHOOK_SECRET"  # noqa: S105 - its name

STDIN: Final = "-"

DELIVERY_TIMEOUT: Final = 10.0
"""Seconds that a receiver has to respond; we assume that the service waits as long."""


@command("sign")
@click.option("--event", "events", metavar="TYPE", multiple=True, help="Type of the event.")
@click.option("--to", metavar="URL", help="Post the delivery there.")
@secret_option
async def sign(context: CommandContext, *, events: tuple[str, ...], to: str | None, secret: str | None) -> int:
    """Sign a made-up event; post it to the URL of --to, else show it as a request."""
    signing_secret = read_secret(secret)
    context.output.mask_secret(signing_secret)
    Verifier(signing_secret)  # rejects a text that cannot be a secret
    now, event_id = Environment().wall_time(), f"evt_{Environment().new_idempotency_key()}"
    if len(events) > 1:
        raise ConfigurationError("rivya webhooks sign takes one --event")
    event_type = events[0] if events else "generation.succeeded"
    body = json.dumps(_make_event(event_type, event_id, now)).encode()
    headers = {
        "Content-Type": "application/json",
        **RIVYA.sign(body, signing_secret, message_id=event_id, timestamp=int(now)),
    }
    if to is None:
        lines = [*(f"{name}: {value}" for name, value in headers.items()), "", body.decode()]
        context.output.write_result({"headers": headers, "body": body.decode()}, text="\n".join(lines))
        return ExitCode.OK
    check_http_url(to, "--to takes the http or https URL of a receiver")
    async with open_client() as client:
        status = await post_delivery(client, to, body, headers.items())
    value = {"event_id": event_id, "response_status": status}
    context.output.write_result(value, text=f"{event_id}  {event_type}  answered with {status}")
    return ExitCode.OK if is_success(status) else ExitCode.SERVICE


def read_secret(given: str | None) -> str:
    """Returns the secret that was given, or comes from stdin or the environment, without blanks around it."""
    secret = sys.stdin.readline() if given == STDIN else given or os.environ.get(SECRET_VARIABLE, "")
    if not secret.strip():
        raise ConfigurationError(f"there is no signing secret: set {SECRET_VARIABLE}, or pass --secret - and type it")
    return secret.strip()


def is_success(status: int | None) -> bool:
    """Reports if the status is of the class 2xx."""
    return status is not None and 200 <= status < 300  # noqa: PLR2004 - the class of HTTP statuses


def _make_event(event_type: str, event_id: str, now: float) -> dict[str, Any]:
    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    is_failed = event_type.endswith(".failed")
    url = "https://example.com/rivya-webhook-test.png"
    return {
        "id": event_id,
        "type": event_type,
        "api_version": "2026-05-11",
        "created_at": time,
        "data": {
            "id": "task_webhook_test",
            "status": "failed" if is_failed else "succeeded",
            "model": "z-image",
            "reserved_credits": 0,
            "final_credits": 0,
            "created_at": time,
            "updated_at": time,
            "result": None if is_failed else {"primary_url": url, "urls": [url]},
            "error": {"code": "generation_failed", "message": "Made up."} if is_failed else None,
        },
    }


@asynccontextmanager
async def open_client() -> AsyncIterator[aiohttp.ClientSession]:
    """Opens a client that posts deliveries as the service does: no cookies, no headers of its own."""
    import aiohttp

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),  # a receiver under development restarts at any time
        timeout=aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    ) as client:
        yield client


async def post_delivery(
    client: aiohttp.ClientSession, url: str, body: bytes, headers: Iterable[tuple[str, str]]
) -> int:
    """Returns the status of the response, without following redirects.

    Raises `RequestNotSentError` or `OutcomeUnknownError` if there is no response.
    """
    import aiohttp

    try:
        async with client.post(url, data=body, headers=list(headers), allow_redirects=False) as response:
            return response.status
    except aiohttp.ClientConnectorError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise RequestNotSentError(f"{url} cannot be reached: {reason or type(error).__name__}") from None
    except (aiohttp.ClientError, OSError) as error:  # a timeout is one of the latter
        raise OutcomeUnknownError(f"{url} did not answer: {str(error) or type(error).__name__}") from None
