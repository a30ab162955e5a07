"""The service that is checked: asked in plain HTTP, so that nothing of the SDK stands between."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import attrs

LONGEST_WAIT: Final = 65.0
"""Seconds that a Retry-After may hold the run; beyond that, it could not be told."""

REQUEST_TIMEOUT: Final = 60.0


class CannotTell(Exception):
    """The service did not let itself be asked: no network, a rate limit, a fault of its own, a missing scope."""


@attrs.frozen
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body; AssertionError if it is no JSON."""
        try:
            return json.loads(self.raw)
        except ValueError:
            raise AssertionError(f"expected JSON; came {self.status} {self.raw[:80]!r}") from None

    @property
    def code(self) -> str | None:
        """`error.code`, if there is one."""
        try:
            return str(json.loads(self.raw)["error"]["code"])
        except (ValueError, TypeError, KeyError):
            return None


@attrs.define
class Service:
    """Where it is, and whose key we have."""

    base_url: str
    api_key: str = attrs.field(repr=False)
    http: aiohttp.ClientSession = attrs.field(repr=False)
    run_id: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    _shared: dict[str, asyncio.Future[Any]] = attrs.field(factory=dict, repr=False)

    async def ask(self, method: str, path: str, *, key: str | None = None, **options: Any) -> Reply:
        """One request under /api/v1, with our key, or with `key` ("" for none).

        A rate limit is waited for once. `CannotTell` for what says nothing about the contract.
        """
        reply = await self._send(method, path, key, options)
        if reply.status == 429:
            await asyncio.sleep(_pause(reply.headers.get("Retry-After", "")))
            reply = await self._send(method, path, key, options)
        if reply.status == 429 or reply.status >= 500 or (key is None and reply.code in UNTOLD):
            raise CannotTell(f"{method} {path} answered {reply.status} {reply.code or ''}".rstrip())
        return reply

    async def shared(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """What several checks look at, made once in a run: what failed is not bought again."""
        if name not in self._shared:
            self._shared[name] = asyncio.ensure_future(make())
        return await asyncio.shield(self._shared[name])

    async def aclose(self) -> None:
        """End what is still being made."""
        for made in self._shared.values():
            made.cancel()
        await asyncio.gather(*self._shared.values(), return_exceptions=True)

    async def _send(self, method: str, path: str, key: str | None, options: Mapping[str, Any]) -> Reply:
        secret = self.api_key if key is None else key
        headers = {**({"Authorization": f"Bearer {secret}"} if secret else {}), **options.get("headers", {})}
        more = {name: value() if callable(value) else value for name, value in options.items() if name != "headers"}
        url = f"{self.base_url}/api/v1{path}"
        try:
            async with self.http.request(method, url, headers=headers, allow_redirects=False, **more) as response:
                return Reply(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CannotTell(f"{method} {path}: {type(error).__name__}") from error


UNTOLD: Final = frozenset({"api_key_invalid", "api_key_revoked", "api_key_expired", "api_scope_denied"})
"""What an answer to our own key tells of the key, not of the contract."""


def _pause(retry_after: str) -> float:
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 1.0
    if seconds > LONGEST_WAIT:
        raise CannotTell(f"the rate limit asks for {retry_after} s")
    return seconds


@asynccontextmanager
async def connected(base_url: str, api_key: str) -> AsyncIterator[Service]:
    """A service to check."""
    timeout = aiohttp.ClientTimeout(REQUEST_TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        service = Service(base_url.rstrip("/").removesuffix("/api/v1"), api_key, http)
        try:
            yield service
        finally:
            await service.aclose()
