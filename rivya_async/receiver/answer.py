"""What a delivery is answered with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import attrs


@attrs.frozen
class Answer:
    """A status of HTTP, and a line for whoever reads the log of deliveries. Any 2xx ends the retries of the service."""

    status: HTTPStatus
    text: str


HANDLED: Final = Answer(HTTPStatus.OK, "handled")
REPEATED: Final = Answer(HTTPStatus.OK, "handled before")
NOT_WANTED: Final = Answer(HTTPStatus.OK, "nobody handles this type")
AT_WORK: Final = Answer(HTTPStatus.ACCEPTED, "being handled")
CUT_BODY: Final = Answer(HTTPStatus.BAD_REQUEST, "the body did not come whole")
SLOW_BODY: Final = Answer(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time")
WRONG_METHOD: Final = Answer(HTTPStatus.METHOD_NOT_ALLOWED, "deliveries are posted")
TOO_LARGE: Final = Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large for an event")
FAILED: Final = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the handler failed: deliver it again")
FULL: Final = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many events are being handled: deliver it again")
CLOSED: Final = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the receiver is closed: deliver it again")


def refused(reason: str) -> Answer:
    """To what is not to be trusted, or not to be read."""
    return Answer(HTTPStatus.BAD_REQUEST, reason.encode(errors="replace").decode())  # it may quote what came
