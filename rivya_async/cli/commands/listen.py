"""`rivya listen`: a webhook receiver for development that runs until a signal ends it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click
from aiohttp import web

from ..._core.errors import ConfigurationError, RivyaError, WebhookVerificationError
from ..._core.webhooks.signatures import Verifier
from ..._engine.environment import Environment
from ...receiver.apps import create_aiohttp_app
from ...receiver.handler_pool import DedupCache
from ...receiver.protocol import HANDLED, MAX_BODY_SIZE, WebhookResponse, bad_request
from ...session import RivyaSession
from ..command import command
from ..options import PORT, secret_option
from ..render import record_to_json
from ..session_factory import check_http_url, export_lines, new_sandbox
from .webhook_delivery import is_success, open_client, post_delivery, read_secret
from .webhooks import EVENT_TYPES, format_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

    from ..._core.webhooks.records import WebhookEvent
    from ..output import Output
    from ..run import CommandContext

HOST: Final = "127.0.0.1"

REPEAT_WINDOW: Final = 86_400.0
"""Seconds in which a second delivery of an event counts as repeated."""

CONNECTION_HEADERS: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that are not forwarded: they describe the connection."""


@command("listen")
@click.option("--port", metavar="PORT", type=PORT, default=0, help="Port; 0 is any free one.")
@secret_option
@click.option("--forward", metavar="URL", help="Forward signed deliveries to this receiver.")
async def listen(context: CommandContext, *, port: int, secret: str | None, forward: str | None) -> None:
    """Receive webhooks on this machine, show them, and forward them.

    For development: every delivery is verified and shown as it arrives, until Ctrl-C.
    RIVYA_WEBHOOK_SECRET holds the signing secret. The service reaches this machine through your tunnel,
    rivya sandbox --allow-local-webhooks directly. An unsigned delivery is rejected, with a line on stderr.
    --forward posts a signed delivery to another receiver without changes, and responds as that one does.
    --sandbox starts a sandbox that delivers here, begins with a test event, and prints how to buy from it.
    --json: {"url": "..."} once it listens, then a line for each event.

    Examples:
      rivya listen --port 8790
      rivya listen --port 8790 --forward http://127.0.0.1:8000/hooks/rivya
      rivya listen --sandbox
    """
    output = context.output
    if forward is not None:
        check_http_url(forward, "--forward takes the http or https URL of a receiver")
    if context.is_sandbox and secret is not None:
        raise ConfigurationError("the sandbox makes a signing secret of its own: leave out --secret, or --sandbox")
    own_secret = "" if context.is_sandbox else _checked_secret(read_secret(secret), output)
    with socket.create_server((HOST, port)) as server:
        bound_port = server.getsockname()[1]
        if forward is not None and _is_local(forward, bound_port):
            raise ConfigurationError("--forward leads back here: name the port of the receiver behind")
        url = f"http://{HOST}:{bound_port}/"
        if not context.is_sandbox:
            async with _serve(server, own_secret, output, forward):
                output.write_result({"url": url})
                output.write_note(f"Listening on {url} until Ctrl-C.")
                await asyncio.Event().wait()
            return
        async with (
            new_sandbox(renders=False, allow_local_webhooks=True) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        ):
            output.is_embedded = True
            endpoint = await session.webhooks.create("rivya listen", url, EVENT_TYPES)
            endpoint_secret = _checked_secret(endpoint.signing_secret or "", output)
            async with _serve(server, endpoint_secret, output, forward):
                output.write_result({"url": url, "api_key": sandbox.api_key, "base_url": sandbox.base_url})
                output.write_note(f"Listening on {url} until Ctrl-C. Purchases with these settings deliver here:")
                for line in export_lines(sandbox):
                    output.write_note(line)
                await session.webhooks.test(endpoint.id)
                await asyncio.Event().wait()


def _checked_secret(secret: str, output: Output) -> str:
    output.mask_secret(secret)
    Verifier(secret)  # rejects a text that cannot be a secret
    return secret


def _is_local(url: str, port: int) -> bool:
    parts = urlsplit(url)
    return parts.hostname in {HOST, "localhost", "0.0.0.0"} and parts.port == port  # noqa: S104 - which leads here too


@asynccontextmanager
async def _serve(server: socket.socket, secret: str, output: Output, forward: str | None) -> AsyncIterator[None]:
    """Receives deliveries on this socket."""
    async with open_client() as client:
        app = create_aiohttp_app(Listener(Verifier(secret), output, client, forward))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, auto_decompress=False)
        await runner.setup()
        try:
            await web.SockSite(runner, server).start()
            yield
        finally:
            await runner.cleanup()


class Listener:
    """Handler of deliveries for the receiver's app: verifies, forwards and shows them."""

    def __init__(self, verifier: Verifier, output: Output, client: aiohttp.ClientSession, forward: str | None) -> None:
        self._verifier = verifier
        self._output = output
        self._client = client
        self._forward = forward
        self._wall = Environment().wall_time
        self._seen = DedupCache(REPEAT_WINDOW)
        self.max_body_size = MAX_BODY_SIZE

    def open(self) -> None:
        """Does nothing."""

    async def aclose(self) -> None:
        """Does nothing."""

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> WebhookResponse:
        """Handles one delivery and returns the response."""
        now = self._wall()
        try:
            event = self._verifier.verify(body, headers, now=now)
        except WebhookVerificationError as error:
            self._output.write_error(error)
            return bad_request(error.message)
        is_repeated = self._seen.contains(event.id, now)
        self._seen.add(event.id, now)
        status = None
        try:
            if self._forward is not None:
                kept = [(name, value) for name, value in headers.items() if name.lower() not in CONNECTION_HEADERS]
                status = await post_delivery(self._client, self._forward, body, kept)
        except RivyaError as error:
            self._output.write_error(error)
        self._show(event, now, status, is_repeated=is_repeated)
        if self._forward is None or is_success(status):
            return HANDLED
        return WebhookResponse(HTTPStatus.BAD_GATEWAY, "the receiver behind did not accept it")

    def _show(self, event: WebhookEvent, now: float, status: int | None, *, is_repeated: bool) -> None:
        marks = ["again"] * is_repeated
        value = {**record_to_json(event), "repeated": is_repeated}
        if self._forward is not None:
            marks.append(f"-> {status or 'no answer'}")
            value["forward_status"] = status
        received_at = datetime.fromtimestamp(now, UTC).astimezone()
        self._output.write_result(value, text=format_event(event, received_at, *marks))
