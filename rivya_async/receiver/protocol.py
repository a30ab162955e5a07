"""The contract between a receiver and the apps that serve it: the responses, and the reading of a body."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

BODY_TIMEOUT: Final = 10.0
"""Maximum seconds until a body has arrived: the service is assumed to wait no longer for a response."""

MAX_BODY_SIZE: Final = 1024 * 1024
"""Default limit in bytes of a body: a hundred times the size of an event."""


@attrs.frozen
class WebhookResponse:
    """The response to a delivery: an HTTP status, and a line for the service's log. Any 2xx ends the retries."""

    status: HTTPStatus
    """HTTP status."""
    text: str
    """Body of the response."""


HANDLED: Final = WebhookResponse(HTTPStatus.OK, "handled")
ALREADY_HANDLED: Final = WebhookResponse(HTTPStatus.OK, "handled before")
NO_HANDLER: Final = WebhookResponse(HTTPStatus.OK, "no handler for this type")
STILL_RUNNING: Final = WebhookResponse(HTTPStatus.ACCEPTED, "being handled")
INCOMPLETE_BODY: Final = WebhookResponse(HTTPStatus.BAD_REQUEST, "the body is incomplete")
SLOW_BODY: Final = WebhookResponse(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time")
WRONG_METHOD: Final = WebhookResponse(HTTPStatus.METHOD_NOT_ALLOWED, "deliveries use POST")
BODY_TOO_LARGE: Final = WebhookResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large for an event")
HANDLER_FAILED: Final = WebhookResponse(HTTPStatus.INTERNAL_SERVER_ERROR, "the handler failed: deliver it again")
OVERLOADED: Final = WebhookResponse(HTTPStatus.SERVICE_UNAVAILABLE, "too many events in progress: deliver it again")
HANDLED_ELSEWHERE: Final = WebhookResponse(HTTPStatus.SERVICE_UNAVAILABLE, "being handled now: deliver it again")
CLOSED: Final = WebhookResponse(HTTPStatus.SERVICE_UNAVAILABLE, "the receiver is closed: deliver it again")


def bad_request(reason: str) -> WebhookResponse:
    """Returns a 400 response; the reason may quote the delivery, and is made encodable."""
    return WebhookResponse(HTTPStatus.BAD_REQUEST, reason.encode(errors="replace").decode())


class DeliveryHandler(Protocol):
    """The interface that apps need: `WebhookReceiver`, or the listener of the CLI."""

    @property
    def max_body_size(self) -> int:
        """The limit in bytes of a body."""
        ...

    def open(self) -> None:
        """Prepares for deliveries."""
        ...

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> WebhookResponse:
        """Handles one delivery."""
        ...

    async def aclose(self) -> None:
        """Ends after the last delivery."""
        ...


async def respond(
    handler: DeliveryHandler, read: Callable[[], Awaitable[bytes]], headers: Mapping[str, str]
) -> WebhookResponse:
    """Reads a body until `read` returns no bytes, within the limits of size and time, and returns the response."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while chunk := await read():
                body += chunk
                if len(body) > handler.max_body_size:
                    return BODY_TOO_LARGE
    except TimeoutError:
        return SLOW_BODY
    return await handler.receive(bytes(body), headers)
