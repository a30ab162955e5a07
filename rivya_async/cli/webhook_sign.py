"""`rivya webhooks sign`: a delivery signed by hand, shown or sent to a receiver. Needs no account."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from .._core.errors import ConfigurationError, NotSent, OutcomeUnknown
from .._core.signature import RIVYA, Verifier
from .._engine.ambient import Ambient
from .exit_codes import ExitCode

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from .output import Output

SECRET_VARIABLE: Final = "RIVYA_WEBHOOK_SECRET"  # noqa: S105 - its name

STDIN: Final = "-"

TIMEOUT: Final = 10.0
"""Seconds that a receiver has, as we assume of the service."""


async def sign(arguments: Namespace, output: Output) -> int:
    """Sign an invented event now; post it where `--to` says, else show it as a request."""
    secret = secret_of(arguments.secret)
    output.mask_secret(secret)
    Verifier(secret)  # refuses what can be no secret
    now, event_id = Ambient().wall(), f"evt_{Ambient().mint_key()}"
    types = arguments.event or ["generation.succeeded"]
    if len(types) > 1:
        raise ConfigurationError("rivya webhooks sign takes one --event")
    body = json.dumps(_event(types[0], event_id, now)).encode()
    headers = {
        "Content-Type": "application/json",
        **RIVYA.sign(body, secret, message_id=event_id, timestamp=int(now)),
    }
    if arguments.to is None:
        shown = [*(f"{name}: {value}" for name, value in headers.items()), "", body.decode()]
        output.write_result({"headers": headers, "body": body.decode()}, text="\n".join(shown))
        return ExitCode.OK
    status = await asyncio.to_thread(_post, checked_url("--to", arguments.to), headers, body)
    output.write_result(
        {"event_id": event_id, "response_status": status}, text=f"{event_id}  {types[0]}  answered with {status}"
    )
    return ExitCode.OK if 200 <= status < 300 else ExitCode.SERVICE  # noqa: PLR2004 - the class of HTTP statuses


def secret_of(given: str | None) -> str:
    """The secret: given, from stdin, or from the environment; blanks around it are dropped."""
    secret = sys.stdin.readline() if given == STDIN else given or os.environ.get(SECRET_VARIABLE, "")
    if not secret.strip():
        raise ConfigurationError(f"there is no signing secret: set {SECRET_VARIABLE}, or pass --secret - and type it")
    return secret.strip()


def _event(event_type: str, event_id: str, now: float) -> dict[str, Any]:
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    is_failed = event_type.endswith(".failed")
    url = "https://example.com/rivya-webhook-test.png"
    return {
        "id": event_id,
        "type": event_type,
        "api_version": "2026-05-11",
        "created_at": at,
        "data": {
            "id": "task_webhook_test",
            "status": "failed" if is_failed else "succeeded",
            "model": "z-image",
            "reserved_credits": 0,
            "final_credits": 0,
            "created_at": at,
            "updated_at": at,
            "result": None if is_failed else {"primary_url": url, "urls": [url]},
            "error": {"code": "generation_failed", "message": "Invented."} if is_failed else None,
        },
    }


def checked_url(option: str, url: str) -> str:
    """The URL of a receiver, if it can be one."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigurationError(f"{option} takes the http or https URL of a receiver")
    return url


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """The service follows none."""


def _post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """The status of the answer; raises `NotSent` or `OutcomeUnknown` if there is none."""
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")  # noqa: S310 - checked
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as answered:
        with answered:
            return answered.code
    except urllib.error.URLError as error:
        raise NotSent(f"the receiver cannot be reached: {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise OutcomeUnknown(f"the receiver did not answer: {str(error) or type(error).__name__}") from None
