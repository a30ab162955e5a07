"""One request while it is handled: its route, its body, and the facts that handlers learn about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
from aiohttp import web

from .api_keys import ApiKey
from .request_log import LoggedUpload
from .responses import ApiError, ApiResponse, validation_error
from .router import Route

T = TypeVar("T")

DEFAULT_LIMIT: Final = 20
"""Items of a list response without `limit`. Assumed."""

MAX_LIMIT: Final = 100
"""Largest `limit` of a list request, in items. Assumed."""


@attrs.define
class RequestContext:
    """A request and its handling. `now` is in epoch seconds; `reports_end`: the response says that the task ended."""

    request: web.BaseRequest
    route: Route | None
    path_params: Mapping[str, str]
    now: float
    idempotency_key: str | None
    api_key: ApiKey | None = None
    body: bytes | None = None
    upload: LoggedUpload | None = None
    task_id: str | None = None
    is_replay: bool = False
    reports_end: bool = False
    idempotency_scope: tuple[str, str, str] | None = None
    on_finish: Callable[[], None] | None = None

    @property
    def account_id(self) -> str:
        """The account of the API key."""
        assert self.api_key is not None  # noqa: S101  the request handler has authorized the request
        return self.api_key.account_id

    def send_continue(self) -> None:
        """Sends the interim response to a client that waits for it before its body."""
        if self.request.headers.get("Expect", "").lower() == "100-continue" and self.request.transport:
            self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def read_json(self) -> tuple[dict[str, Any], bytes]:
        """Returns the JSON object of the body and its canonical form, which is equal for equal objects."""
        self.send_continue()
        try:
            self.body = await self.request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise ApiError("body_too_large", "The request body is too large.") from error
        except (web.RequestPayloadError, OSError) as error:
            raise validation_error("The request body is incomplete.") from error
        try:
            value = json.loads(self.body, parse_constant=_reject_constant)
            canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        except (ValueError, RecursionError) as error:
            raise validation_error("The request body is not valid JSON.") from error
        if not isinstance(value, dict):
            raise validation_error("The request body must be a JSON object.")
        return value, canonical

    def list_response(self, items: Sequence[T], encode: Callable[[T], Mapping[str, Any]]) -> ApiResponse:
        """Returns the list of the first `limit` items, encoded."""
        limit = self.request.query.get("limit", str(DEFAULT_LIMIT))
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MAX_LIMIT):
            raise validation_error(f"limit must be a number from 1 to {MAX_LIMIT}.")
        return ApiResponse.from_json({"object": "list", "data": [encode(item) for item in items[: int(limit)]]})


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
