"""The service under check: plain HTTP requests, without the SDK in between."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    from rivya_async import RivyaSession

MAX_RETRY_AFTER: Final = 65.0
"""Longest Retry-After, in seconds, that a run waits for."""

API_KEY_ERRORS: Final = frozenset({"api_key_invalid", "api_key_revoked", "api_key_expired", "api_scope_denied"})
"""Error codes that concern the API key of the run, not the contract."""


class Inconclusive(Exception):
    """A check without a verdict: a network failure, a rate limit, a server error or a missing scope."""


@attrs.frozen
class Upload:
    """A multipart form with one file."""

    name: str
    data: bytes = attrs.field(repr=False)
    fields: Mapping[str, str]


@attrs.frozen
class Request:
    """One HTTP request. `path` is relative to the origin; an empty `key` sends no credentials."""

    method: str
    path: str
    key: str = attrs.field(repr=False)
    headers: Mapping[str, str]
    body: bytes | None = attrs.field(repr=False)
    upload: Upload | None


@attrs.frozen
class Response:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """Decoded body. Raises AssertionError if it is not JSON."""
        try:
            return json.loads(self.raw)
        except ValueError:
            raise AssertionError(f"expected JSON; got {self.status} {self.raw[:80]!r}") from None

    @property
    def code(self) -> str | None:
        """`error.code` of the body, if present."""
        try:
            return str(json.loads(self.raw)["error"]["code"])
        except (ValueError, TypeError, KeyError):
            return None


class Transport(Protocol):
    """A connection to the service. `send` and `fetch` raise `Inconclusive` if no response arrives."""

    @property
    def accepts_api_keys(self) -> bool:
        """True if the service receives the API key."""
        ...

    async def send(self, request: Request) -> Response:
        """Sends one request, once."""
        ...

    async def fetch(self, url: str) -> Response:
        """Fetches a URL without credentials."""
        ...

    def session(self, **options: Any) -> RivyaSession:
        """Opens an SDK session at the same service."""
        ...


@attrs.define
class Service:
    """A connected service, shared by several checks. `poll_interval` is in seconds."""

    transport: Transport
    api_key: str = attrs.field(repr=False)
    poll_interval: float
    run_id: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    _shared: dict[str, asyncio.Future[Any]] = attrs.field(factory=dict, repr=False)

    async def request(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        upload: Upload | None = None,
    ) -> Response:
        """Sends one request under /api/v1 with the API key of the run, or with `key` (empty for none).

        Waits for one rate limit. Raises `Inconclusive` for responses that prove nothing about the contract.
        """
        request = Request(
            method,
            f"/api/v1{path}",
            self.api_key if key is None else key,
            {**({} if json is None else {"Content-Type": "application/json"}), **(headers or {})},
            body if json is None else _encode(json),
            upload,
        )
        response = await self.transport.send(request)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            await asyncio.sleep(_parse_retry_after(response.headers.get("Retry-After", "")))
            response = await self.transport.send(request)
        if (
            response.status == HTTPStatus.TOO_MANY_REQUESTS
            or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or (key is None and response.code in API_KEY_ERRORS)
        ):
            raise Inconclusive(f"{method} {path} returned {response.status} {response.code or ''}".rstrip())
        return response

    def idempotency_key(self, name: str) -> str:
        """Returns the Idempotency-Key for `name` in this run."""
        return f"contract-{self.run_id}-{name}"

    async def run_once(self, name: str, function: Callable[[], Awaitable[Any]]) -> Any:
        """Calls `function` once per run and shares its result or its exception: nothing is purchased twice."""
        if name not in self._shared:
            self._shared[name] = asyncio.ensure_future(function())
        return await asyncio.shield(self._shared[name])

    async def aclose(self) -> None:
        """Cancels shared calls that are still running."""
        for call in self._shared.values():
            call.cancel()
        await asyncio.gather(*self._shared.values(), return_exceptions=True)


ServiceFactory: TypeAlias = Callable[[], AbstractAsyncContextManager[Service]]
"""Opens a service for one check or for a run."""


def _encode(value: object) -> bytes:
    return json.dumps(value).encode()


def _parse_retry_after(retry_after: str) -> float:
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 1.0
    if seconds > MAX_RETRY_AFTER:
        raise Inconclusive(f"the rate limit asks for {retry_after} s")
    return seconds
