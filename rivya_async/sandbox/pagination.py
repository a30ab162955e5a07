"""Lists as the API answers them: the newest first, at most `limit`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from .api_error import ApiError
from .request_context import RequestContext
from .responses import ApiResponse

T = TypeVar("T")

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
"""Both assumed."""


def newest(visit: RequestContext, found: Sequence[T]) -> Sequence[T]:
    """As many of these as `limit` asks for; raises `Refused` for a limit that is none."""
    limit = visit.request.query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MAX_LIMIT):
        raise ApiError("validation_failed", f"limit is a number from 1 to {MAX_LIMIT}.")
    return found[: int(limit)]


def listed(data: Sequence[Mapping[str, Any]]) -> ApiResponse:
    """The list."""
    return ApiResponse(json.dumps({"object": "list", "data": data}).encode())
