"""A bench for tests of the receiver: events, signed deliveries, handlers that are told what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from rivya_async import Generation, WebhookEvent
from rivya_async.receiver import RIVYA, WebhookReceiver, WebhookResponse

SECRET: Final = "whsec_" + "c0ffee00" * 4
NOW: Final = 1_778_486_400
SUCCEEDED: Final = "generation.succeeded"
FAILED: Final = "generation.failed"


def make_body(event_id: str = "evt_1", event_type: str = SUCCEEDED, **data: Any) -> bytes:
    """What the service would deliver."""
    job = {"id": "task_1", "status": event_type.partition(".")[2], "model": "z-image", **data}
    return json.dumps({"id": event_id, "type": event_type, "data": job}).encode()


def sign(body: bytes, *, at: int = NOW, secret: str = SECRET) -> dict[str, str]:
    """The headers for it."""
    return RIVYA.sign(body, secret, message_id="evt_1", timestamp=at)


class RecordingHandler:
    """Keeps the ids of what it handles; does what it is told with each."""

    def __init__(self, then: Callable[[WebhookEvent], Awaitable[object]] | None = None) -> None:
        self.started: list[str] = []
        self.finished: list[str] = []
        self.then = then

    async def __call__(self, event: WebhookEvent) -> None:
        self.started.append(event.id)
        if self.then is not None:
            await self.then(event)
        self.finished.append(event.id)


def sleeping_handler(seconds: float) -> RecordingHandler:
    """A handler that takes its time."""
    return RecordingHandler(lambda _: asyncio.sleep(seconds))


def make_receiver(handler: Any = None, **options: Any) -> WebhookReceiver:
    """A receiver whose clock shows NOW, with a handler for all types."""
    made = WebhookReceiver(SECRET, **{"clock": lambda: float(NOW), **options})
    if handler is not None:
        made.on("*", handler)
    return made


async def deliver(receiver: WebhookReceiver, event_id: str = "evt_1", event_type: str = SUCCEEDED) -> WebhookResponse:
    """The answer to one delivery."""
    body = make_body(event_id, event_type)
    return await receiver.receive(body, sign(body))


async def gather_statuses(*answers: Awaitable[WebhookResponse]) -> list[int]:
    """The statuses of deliveries that come at the same time."""
    return [int(answer.status) for answer in await asyncio.gather(*answers)]


class FakeSession:
    """What a session offers to a receiver; keeps what it was told."""

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
