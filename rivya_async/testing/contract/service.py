"""The service that is checked: asked in plain HTTP, or in memory, so that nothing of the SDK stands between."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    from ...session import RivyaSession

LONGEST_WAIT: Final = 65.0
"""Seconds that a Retry-After may hold the run; beyond that, it could not be told."""

UNTOLD: Final = frozenset({"api_key_invalid", "api_key_revoked", "api_key_expired", "api_scope_denied"})
"""What an answer to our own key tells of the key, not of the contract."""

RATE_LIMITED: Final = 429
BROKEN: Final = 500


class CannotTell(Exception):
    """The service did not let itself be asked: no network, a rate limit, a fault of its own, a missing scope."""


@attrs.frozen
class Upload:
    """A form with a file."""

    name: str
    data: bytes = attrs.field(repr=False)
    fields: Mapping[str, str]


@attrs.frozen
class Question:
    """One request. `path` is below the origin; a key of "" is none."""

    method: str
    path: str
    key: str = attrs.field(repr=False)
    headers: Mapping[str, str]
    body: bytes | None = attrs.field(repr=False)
    upload: Upload | None


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


class Wire(Protocol):
    """How a service is reached."""

    @property
    def sees_keys(self) -> bool:
        """Whether the service is told the API key."""
        ...

    async def send(self, question: Question) -> Reply:
        """One request, sent once. `CannotTell` if no answer came."""
        ...

    async def fetch(self, url: str) -> Reply:
        """What a link gives to whoever has it. `CannotTell` if no answer came."""
        ...

    def session(self, **options: Any) -> RivyaSession:
        """A session of the SDK at the same service."""
        ...


@attrs.define
class Service:
    """A service, open to be asked by several checks. `pause`: seconds between two looks at a job."""

    wire: Wire
    api_key: str = attrs.field(repr=False)
    pause: float
    run_id: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    _shared: dict[str, asyncio.Future[Any]] = attrs.field(factory=dict, repr=False)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        upload: Upload | None = None,
    ) -> Reply:
        """One request under /api/v1, with our key, or with `key` ("" for none).

        A rate limit is waited for once. `CannotTell` for what says nothing about the contract.
        """
        question = Question(
            method,
            f"/api/v1{path}",
            self.api_key if key is None else key,
            {**({} if json is None else {"Content-Type": "application/json"}), **(headers or {})},
            body if json is None else _encoded(json),
            upload,
        )
        reply = await self.wire.send(question)
        if reply.status == RATE_LIMITED:
            await asyncio.sleep(_pause(reply.headers.get("Retry-After", "")))
            reply = await self.wire.send(question)
        if reply.status == RATE_LIMITED or reply.status >= BROKEN or (key is None and reply.code in UNTOLD):
            raise CannotTell(f"{method} {path} answered {reply.status} {reply.code or ''}".rstrip())
        return reply

    def key_for(self, name: str) -> str:
        """The Idempotency-Key of what is called so in this run."""
        return f"contract-{self.run_id}-{name}"

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


Maker: TypeAlias = Callable[[], AbstractAsyncContextManager[Service]]
"""Opens a service for a check, or for several: such as `over_http(base_url, api_key)`, or a function of your own that
is an `asynccontextmanager`."""


def _encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def _pause(retry_after: str) -> float:
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 1.0
    if seconds > LONGEST_WAIT:
        raise CannotTell(f"the rate limit asks for {retry_after} s")
    return seconds
