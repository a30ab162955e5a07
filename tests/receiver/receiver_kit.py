"""Helpers of the receiver tests: signed deliveries, handlers that record their calls, and a fake session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from rivya_async import Generation, RivyaSession, WebhookEndpoint, WebhookEvent
from rivya_async.receiver import RIVYA, WebhookReceiver, WebhookResponse

SECRET: Final = "whsec_" + "c0ffee00" * 4
NOW: Final = 1_778_486_400
SUCCEEDED: Final = "generation.succeeded"
FAILED: Final = "generation.failed"


def make_body(event_id: str = "evt_1", event_type: str = SUCCEEDED, **data: Any) -> bytes:
    job = {"id": "task_1", "status": event_type.partition(".")[2], "model": "z-image", **data}
    return json.dumps({"id": event_id, "type": event_type, "data": job}).encode()


def sign(body: bytes, *, at: int = NOW, secret: str = SECRET) -> dict[str, str]:
    """Returns the headers of a signed delivery."""
    return RIVYA.sign(body, secret, message_id="evt_1", timestamp=at)


class RecordingHandler:
    """A handler that records the ids of started and finished events, and runs an action for each."""

    def __init__(self, action: Callable[[WebhookEvent], Awaitable[object]] | None = None) -> None:
        self.started: list[str] = []
        self.finished: list[str] = []
        self.action = action

    async def __call__(self, event: WebhookEvent) -> None:
        self.started.append(event.id)
        if self.action is not None:
            await self.action(event)
        self.finished.append(event.id)


def sleeping_handler(seconds: float) -> RecordingHandler:
    return RecordingHandler(lambda _: asyncio.sleep(seconds))


def make_receiver(handler: Any = None, **options: Any) -> WebhookReceiver:
    """Creates a receiver whose clock shows NOW, with a handler for all types."""
    receiver = WebhookReceiver(SECRET, **{"clock": lambda: float(NOW), **options})
    if handler is not None:
        receiver.on("*", handler)
    return receiver


async def deliver(receiver: WebhookReceiver, event_id: str = "evt_1", event_type: str = SUCCEEDED) -> WebhookResponse:
    body = make_body(event_id, event_type)
    return await receiver.receive(body, sign(body))


async def gather_statuses(*responses: Awaitable[WebhookResponse]) -> list[int]:
    """Runs deliveries concurrently and returns their statuses."""
    return [int(response.status) for response in await asyncio.gather(*responses)]


class FakeSession:
    """The part of a session that a receiver uses; records the settled jobs."""

    def __init__(self, error: Exception | None = None) -> None:
        self.settled: list[Generation] = []
        self.expects_deliveries = False
        self._error = error

    @property
    def generations(self) -> FakeSession:
        return self

    def expect_deliveries(self) -> None:
        self.expects_deliveries = True

    def settle(self, generation: Generation) -> None:
        self.settled.append(generation)
        if self._error is not None:
            raise self._error


class ReceiverServer:
    """A server of a receiver on one port, which can be closed and opened again."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def open(self, receiver: WebhookReceiver | None = None) -> str:
        """Starts the server and returns its URL; without a receiver it responds 404."""
        app = web.Application() if receiver is None else receiver.aiohttp_app()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, lingering_time=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{self._port}/hooks"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def serve(self, session: RivyaSession, handler: RecordingHandler, **options: Any) -> WebhookEndpoint:
        """Registers the URL as an endpoint and serves a receiver with its secret."""
        endpoint = await self.register(session)
        receiver = WebhookReceiver(endpoint.signing_secret or "", **options)
        receiver.on("*", handler)
        await self.open(receiver)
        return endpoint

    async def register(self, session: RivyaSession) -> WebhookEndpoint:
        """Registers the URL as an endpoint; the server is closed afterwards."""
        url = await self.open()
        endpoint = await session.webhooks.create("Mine", url, [SUCCEEDED, FAILED])
        await self.close()
        return endpoint


@asynccontextmanager
async def receiver_server() -> AsyncIterator[ReceiverServer]:
    server = ReceiverServer()
    try:
        yield server
    finally:
        await server.close()
