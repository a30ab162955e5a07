"""One request on its way through the house."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from aiohttp import web

from . import idempotency
from .api_error import ApiError
from .api_keys import ApiKey
from .request_log import LoggedUpload
from .router import Route


@attrs.define
class RequestContext:
    """A request, the operation that it means, and what was learnt of it on the way. `now`: epoch seconds."""

    request: web.BaseRequest
    route: Route | None
    arguments: Mapping[str, str]
    now: float
    idempotency_key: str | None
    caller: ApiKey | None = None
    body: bytes | None = None
    upload: LoggedUpload | None = None
    task_id: str | None = None
    is_replay: bool = False
    tells_end: bool = False
    """Whether the answer tells that the task has ended."""
    claimed: idempotency.Scope | None = None
    at_the_end: Callable[[], None] | None = None

    @property
    def account_id(self) -> str:
        """Whose request this is. Only behind the check of the key."""
        assert self.caller is not None  # noqa: S101  the door checked the key
        return self.caller.account_id

    def let_come(self) -> None:
        """Tell a client that waits for leave to send its body that it may."""
        if self.request.headers.get("Expect", "").lower() == "100-continue" and self.request.transport:
            self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def read(self) -> bytes:
        """The whole body; raises `Refused` if it is too large or does not arrive."""
        self.let_come()
        try:
            self.body = await self.request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise ApiError("body_too_large", "The request body is too large.") from error
        except (web.RequestPayloadError, OSError) as error:
            raise ApiError("validation_failed", "The request body did not arrive whole.") from error
        return self.body


def parse(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON object of a body, and its canonical form, equal for equal objects. Else raises `Refused`."""
    try:
        body = json.loads(raw, parse_constant=_no_constant)
        canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError("validation_failed", "The request body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise ApiError("validation_failed", "The request body must be a JSON object.")
    return body, canonical


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
