"""What the service answers, as a value, before it meets the socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import attrs

from .api_error import NO_HEADERS, ApiError
from .sse import Ending, SseStream

JSON_TYPE: Final = "application/json"
HTML_TYPE: Final = "text/html; charset=utf-8"


@attrs.frozen
class ApiResponse:
    """Status, whole body, content type and further headers. `task_id`: the task that it speaks of, where known.

    `pieces`: the body is sent in these, and ends as `ending` says.
    """

    body: bytes
    status: int = 200
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = NO_HEADERS
    task_id: str | None = None
    pieces: SseStream = attrs.field(default=(), repr=False)
    ending: Ending = "whole"

    def with_headers(self, more: Mapping[str, str]) -> ApiResponse:
        """This answer with more headers; one of the same name, in any case, takes the place of the old one."""
        names = {name.lower() for name in more}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        added = {name: value for name, value in more.items() if name.lower() != "content-type"}
        types = [value for name, value in more.items() if name.lower() == "content-type"]
        return attrs.evolve(self, headers={**kept, **added}, content_type=types[-1] if types else self.content_type)


def envelope(code: str, message: str, request_id: str) -> bytes:
    """The body of every failed request."""
    return json.dumps({"error": {"code": code, "message": message, "requestId": request_id}}).encode()


def refusal(refused: ApiError, request_id: str) -> ApiResponse:
    """The answer that says no, and why."""
    body = envelope(refused.code, refused.message, request_id)
    return ApiResponse(body, refused.status, headers=refused.headers)
