"""Routes, and one request while it is handled: its route, its body, and the facts that handlers learn about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import attrs
from aiohttp import web

from .request_log import LoggedUpload
from .responses import ApiError, ApiResponse, validation_error

DEFAULT_LIMIT: Final = 20
"""Items of a list response without `limit`. Assumed."""

MAX_LIMIT: Final = 100
"""Largest `limit` of a list request, in items. Assumed."""

T = TypeVar("T")


class _Owned(Protocol):
    @property
    def account_id(self) -> str: ...


Record = TypeVar("Record", bound=_Owned)


@attrs.frozen
class Route:
    """One operation.

    - `name`: method and path, such as "GET /api/v1/generations/{task_id}".
    - `scope`: the scope that the API key needs; None needs no key.
    - `handler`: the attribute path of the handler in `Api`, such as "chat.stream".
    """

    name: str
    scope: str | None
    handler: str

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.name.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path with its parameters in braces."""
        return self.name.partition(" ")[2]


class Router:
    """The lookup of the route of a method and a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        parameter = re.compile(r"\\{(\w+)\\}")
        self._routes = [
            (re.compile(parameter.sub(r"(?P<\1>[^/]+)", re.escape(route.path))), route.method, route)
            for route in routes
        ]

    def resolve(self, method: str, path: str) -> tuple[Route | None, Mapping[str, str]]:
        """Returns the route and its path parameters; None and no parameters without a route."""
        for pattern, route_method, route in self._routes:
            if route_method == method and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        return None, {}

    def unresolved_error(self, path: str) -> ApiError:
        """Returns the error for a path without a route: it is unknown, or has other methods."""
        methods = ", ".join(sorted({method for pattern, method, _ in self._routes if pattern.fullmatch(path)}))
        if not methods:
            return ApiError("not_found", "There is no such path in this API.")
        return ApiError("method_not_allowed", f"This path accepts {methods}.", headers={"Allow": methods})


@attrs.define
class RequestContext:
    """A request and its handling. `now` is in epoch seconds; `reports_end`: the response says that the task ended.

    `account_id` is the account of the API key, once the request is authorized.
    """

    request: web.BaseRequest
    route: Route | None
    path_params: Mapping[str, str]
    now: float
    idempotency_key: str | None
    account_id: str = ""
    body: bytes | None = None
    upload: LoggedUpload | None = None
    task_id: str | None = None
    is_replay: bool = False
    reports_end: bool = False
    idempotency_scope: tuple[str, str, str] | None = None
    on_finish: Callable[[], None] | None = None

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

    def get_record(self, records: Mapping[str, Record], name: str) -> Record:
        """Returns the record of the account that the last path parameter names; raises `ApiError` (not_found)."""
        (record_id,) = self.path_params.values()
        record = records.get(record_id)
        if record is None or record.account_id != self.account_id:
            raise ApiError("not_found", f"There is no such {name}.")
        return record

    def list_response(self, items: Sequence[T], encode: Callable[[T], Mapping[str, Any]]) -> ApiResponse:
        """Returns the last `limit` items, encoded, the last one first."""
        limit = self.request.query.get("limit", str(DEFAULT_LIMIT))
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MAX_LIMIT):
            raise validation_error(f"limit must be a number from 1 to {MAX_LIMIT}.")
        newest = items[: -int(limit) - 1 : -1]
        return ApiResponse.from_json({"object": "list", "data": [encode(item) for item in newest]})

    def list_records(self, records: Iterable[Record], encode: Callable[[Record], Mapping[str, Any]]) -> ApiResponse:
        """Returns the newest `limit` records of the account, encoded, from records in the order of their creation."""
        return self.list_response([record for record in records if record.account_id == self.account_id], encode)


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
