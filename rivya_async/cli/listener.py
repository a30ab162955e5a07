"""What `rivya listen` does with a delivery: check it, pass it on, show it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp

from .._core.errors import NotSent, OutcomeUnknown, RivyaError, WebhookError
from .._engine.ambient import Ambient
from ..receiver.answer import HANDLED, Answer, refused
from ..receiver.seen import Seen
from ..receiver.served import MAX_BODY
from .webhook_render import event_line, record_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core.signature import Verifier
    from .._core.webhook_records import WebhookEvent
    from .output import Output

FORWARD_WITHIN: Final = 10.0
"""Seconds that the receiver behind has, as we assume of the service."""

DAY: Final = 86_400.0

OF_THE_CONNECTION: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that are not passed on: they speak of the connection, not of what it carried."""


def _is_success(status: int | None) -> bool:
    return status is not None and 200 <= status < 300  # noqa: PLR2004 - the class of HTTP statuses


class Listener:
    """Takes deliveries, as an app serves them. `http` is used where they are passed on."""

    def __init__(self, verifier: Verifier, output: Output, http: aiohttp.ClientSession, forward: str | None) -> None:
        self._verifier = verifier
        self._output = output
        self._http = http
        self._forward = forward
        self._wall = Ambient().wall
        self._seen = Seen(DAY)
        self.max_body = MAX_BODY

    def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do."""

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Take one delivery."""
        now = self._wall()
        try:
            event = self._verifier.verify(body, headers, now=now)
        except WebhookError as error:
            self._output.write_error(error)
            return refused(error.message)
        is_repeated = self._seen.knows(event.id, now)
        self._seen.add(event.id, now)
        status = None
        try:
            if self._forward is not None:
                status = await self._passed_on(self._forward, body, headers)
        except RivyaError as error:
            self._output.write_error(error)
        self._show(event, now, status, is_repeated=is_repeated)
        return (
            HANDLED
            if self._forward is None or _is_success(status)
            else Answer(HTTPStatus.BAD_GATEWAY, "the receiver behind did not take it")
        )

    async def _passed_on(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the receiver behind; raises `NotSent` or `OutcomeUnknown` if it gave none."""
        kept = [(name, value) for name, value in headers.items() if name.lower() not in OF_THE_CONNECTION]
        try:
            async with self._http.post(url, data=body, headers=kept, allow_redirects=False) as response:
                return response.status
        except aiohttp.ClientConnectorError as error:
            raise NotSent(f"{url} cannot be reached: {error.strerror or type(error).__name__}") from None
        except (aiohttp.ClientError, OSError) as error:  # a time-out is one of the latter
            raise OutcomeUnknown(f"{url} did not answer: {str(error) or type(error).__name__}") from None

    def _show(self, event: WebhookEvent, now: float, status: int | None, *, is_repeated: bool) -> None:
        marks = ["again"] * is_repeated
        value = {**record_json(event), "repeated": is_repeated}
        if self._forward is not None:
            marks.append(f"-> {status or 'no answer'}")
            value["forward_status"] = status
        heard_at = datetime.fromtimestamp(now, UTC).astimezone()
        self._output.write_result(value, text=event_line(event, heard_at, *marks))
