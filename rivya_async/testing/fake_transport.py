"""A transport that passes requests to a function: for tests without sockets and without a sandbox."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
from multidict import CIMultiDict

from .._core.errors import RivyaError
from .._core.http.messages import Request, Response
from .._core.policies import PollPolicy, RetryPolicy
from .._core.public_module import set_public_module
from .._engine.http.transport import USER_AGENT
from ..session import RivyaSession

if TYPE_CHECKING:
    from .._core.http.messages import MultipartForm
    from ..blocking import BlockingSession

API_KEY: Final = "rvya_sk_fake"
BASE_URL: Final = "http://fake.invalid"

FAST_POLLS: Final = PollPolicy(first=0.001, base=0.001, cap=0.01, floor=0.001)
FAST_RETRIES: Final = RetryPolicy(base=0.001, cap=0.01)


@attrs.frozen
class FakeRequest:
    """A request as the handler receives it, without the API key.

    `path` is relative to the origin and includes the query, such as `/api/v1/generations/task_1`. For a download it is
    the complete URL. `body` holds the sent bytes. For an upload, `body` holds the file and `fields` the form fields.

    >>> FakeRequest("POST", "/api/v1/generations", b'{"model": "z-image"}', "order-1").json["model"]
    'z-image'
    """

    method: str
    """HTTP method."""
    path: str
    body: bytes = attrs.field(default=b"", repr=False)
    idempotency_key: str | None = None
    """Idempotency key, if one was sent."""
    fields: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers, without the API key."""

    @property
    def json(self) -> Any:
        """Decoded body. Raises ValueError if it is not JSON."""
        return json.loads(self.body)


@attrs.frozen
class FakeResponse:
    """A response. `json` is sent as JSON with its content type; without it, `body` is sent unchanged.

    >>> FakeResponse(json={"current_credits": 5}).status, FakeResponse(502, body=b"<html>").status
    (200, 502)
    >>> FakeResponse.error(429, "rate_limited", Retry_After="3").headers
    {'Retry-After': '3'}
    """

    status: int = 200
    """HTTP status."""
    json: Any = None
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers."""

    @classmethod
    def error(cls, status: int, code: str | None = None, message: str = "Rejected.", **headers: str) -> FakeResponse:
        """Creates an error response with the service's envelope. `Retry_After="3"` sets a header."""
        error = {"code": code, "message": message, "requestId": "req_fake"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, {"error": error}, headers=named)


FakeResult: TypeAlias = FakeResponse | Mapping[str, Any] | RivyaError
"""Return value of a handler: a response, a mapping to send as JSON with status 200, or a network error such as
`RequestNotSentError()` or `OutcomeUnknownError()`."""

FakeHandler: TypeAlias = Callable[[FakeRequest], FakeResult | Awaitable[FakeResult]]


class FakeTransport:
    """A transport that passes each request to a sync or async handler and records it in `requests`.

    Exceptions of the handler propagate unchanged. A result of another type raises TypeError. A wait raises either as a
    `RivyaError`. The transport is not bound to an event loop.

    >>> def service(request):
    ...     if request.method == "POST":
    ...         return {"id": "task_1", "status": "queued", "model": "z-image"}
    ...     return {"id": "task_1", "status": "succeeded", "model": "z-image"}
    >>> async def main():
    ...     fake = FakeTransport(service)
    ...     async with fake.session() as session:
    ...         job = await session.generate("z-image", "A red kite")
    ...     return job.status, [request.method for request in fake.requests]
    >>> asyncio.run(main())
    ('succeeded', ['POST', 'GET'])
    """

    def __init__(self, handler: FakeHandler) -> None:
        self.requests: list[FakeRequest] = []
        self._handler = handler

    def session(self, **options: Any) -> RivyaSession:
        """Opens a session that uses this transport. `options` are those of `RivyaSession`.

        Polls and retries follow each other within milliseconds, unless `poll` or `retry` is given.
        """
        return RivyaSession(**self._options(options))

    def blocking_session(self, **options: Any) -> BlockingSession:
        """Opens a `BlockingSession` that uses this transport, like `session`."""
        from ..blocking import BlockingSession

        return BlockingSession(**self._options(options))

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        fast = {"poll": FAST_POLLS, "retry": FAST_RETRIES}
        return {"api_key": API_KEY, "base_url": BASE_URL, **fast, **options, "transport": self}

    @property
    def max_connections(self) -> int:
        """Number of concurrent requests: unlimited."""
        return sys.maxsize

    async def send(self, request: Request) -> Response:
        """See `rivya_async.Transport`."""
        return await self.handle(_to_fake_request(request))

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        """See `rivya_async.Transport`."""
        body = b"".join([chunk async for chunk in file])
        return await self.handle(
            attrs.evolve(_to_fake_request(request), body=body, fields={**form.fields, "file": form.filename})
        )

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[_FakeStream]:
        """See `rivya_async.Transport`."""
        yield _FakeStream(await self.handle(_to_fake_request(request)))

    @asynccontextmanager
    async def fetch(self, url: str, headers: Mapping[str, str], *, only_public: bool) -> AsyncIterator[_FakeStream]:  # noqa: ARG002 - a fake resolves no addresses
        """See `rivya_async.Transport`."""
        yield _FakeStream(await self.handle(FakeRequest("GET", url, headers=dict(headers))))

    async def aclose(self) -> None:
        """Does nothing."""

    def abandon(self) -> None:
        """Does nothing."""

    async def handle(self, request: FakeRequest) -> Response:
        """Calls the handler and converts its result to a response. Raises a returned or raised error."""
        self.requests.append(request)
        await asyncio.sleep(0)  # a network response never arrives synchronously
        result = self._handler(request)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, RivyaError):
            raise result
        if isinstance(result, Mapping):
            result = FakeResponse(json=result)
        if not isinstance(result, FakeResponse):
            raise TypeError(
                f"the handler returned {result!r:.80} for {request.method} {request.path}. "
                "Return a FakeResponse, a mapping or a RivyaError."
            )
        headers = CIMultiDict({name: str(value) for name, value in result.headers.items()})
        if result.json is None:
            return Response(result.status, headers, result.body)
        headers.setdefault("Content-Type", "application/json")
        return Response(result.status, headers, json.dumps(result.json).encode())


class _FakeStream:
    """A streaming response with one chunk."""

    def __init__(self, response: Response) -> None:
        self.head = attrs.evolve(response, body=b"")
        self._remaining = response.body

    async def read(self) -> bytes:
        """Returns the body, then an empty chunk."""
        chunk, self._remaining = self._remaining, b""
        return chunk


def _to_fake_request(request: Request) -> FakeRequest:
    return FakeRequest(
        request.method,
        request.path,
        request.body or b"",
        request.idempotency_key,
        headers=request.headers(None, USER_AGENT),
    )


set_public_module("rivya_async.testing", FakeRequest, FakeResponse, FakeTransport)
