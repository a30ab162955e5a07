"""A service that is one function: for tests of your own code that need no sockets and no sandbox."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from .._core.errors import RivyaError
from .._core.http.messages import Request, Response
from ..session import RivyaSession

if TYPE_CHECKING:
    from .._core.http.messages import MultipartForm

API_KEY: Final = "rvya_sk_fake"
BASE_URL: Final = "http://fake.invalid"


@attrs.frozen
class FakeRequest:
    """A request as the function sees it.

    `path` is below the origin, with its query, such as `/api/v1/generations/task_1`; for a file to be downloaded it is
    the whole URL. `body` are the bytes that were sent, of an upload those of the file, whose form stands in `fields`.
    The API key is not in it.

    >>> FakeRequest("POST", "/api/v1/generations", b'{"model": "z-image"}', "order-1").json["model"]
    'z-image'
    """

    method: str
    path: str
    body: bytes = attrs.field(default=b"", repr=False)
    idempotency_key: str | None = None
    fields: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def json(self) -> Any:
        """The body as JSON; ValueError if it is none."""
        return json.loads(self.body)


@attrs.frozen
class FakeResponse:
    """An answer. `json` is sent as JSON and says so in its headers, else `body` as it is.

    >>> FakeResponse(json={"current_credits": 5}).status, FakeResponse(502, body=b"<html>").status
    (200, 502)
    >>> FakeResponse.error(429, "rate_limited", Retry_After="3").headers
    {'Retry-After': '3'}
    """

    status: int = 200
    json: Any = None
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def error(cls, status: int, code: str | None = None, message: str = "No.", **headers: str) -> FakeResponse:
        """A refusal in the service's envelope (contract section 3); `Retry_After="3"` is a header."""
        error = {"code": code, "message": message, "requestId": "req_fake"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, {"error": error}, headers=named)


Reply: TypeAlias = FakeResponse | Mapping[str, Any] | RivyaError
"""What the function may return: an answer, an object that is sent as JSON with 200, or what the network does to the
request: `RequestNotSentError()` or `OutcomeUnknownError()`."""

Answering: TypeAlias = Callable[[FakeRequest], Reply | Awaitable[Reply]]


class FakeTransport:
    """In the place of the network: hands each request to one function, plain or async, and keeps it in `requests`.

    What the function raises comes out of the call as it is, and so does a TypeError where it returns no `Reply`; a wait
    says it with a `RivyaError`. Nothing of it is bound to an event loop.

    >>> def service(request):
    ...     if request.method == "POST":
    ...         return {"id": "task_1", "status": "queued", "model": "z-image"}
    ...     return {"id": "task_1", "status": "succeeded", "model": "z-image"}
    >>> async def main():
    ...     fake = FakeTransport(service)
    ...     async with fake.session() as session:
    ...         job = await session.generate("z-image", "A red kite", poll=PollPolicy(first=0.01, floor=0.01))
    ...     return job.status, [request.method for request in fake.requests]
    >>> asyncio.run(main())
    ('succeeded', ['POST', 'GET'])
    """

    def __init__(self, answer: Answering) -> None:
        self.requests: list[FakeRequest] = []
        self._answer = answer

    def session(self, **options: Any) -> RivyaSession:
        """A session that talks to the function; `options` are those of `RivyaSession`."""
        return RivyaSession(**{"api_key": API_KEY, "base_url": BASE_URL, **options}, transport=self)

    @property
    def max_connections(self) -> int:
        """Any number of requests may be on their way."""
        return sys.maxsize

    async def send(self, request: Request) -> Response:
        """See `rivya_async.Transport`."""
        return await self.ask(_fake(request))

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        """See `rivya_async.Transport`."""
        body = b"".join([piece async for piece in file])
        return await self.ask(attrs.evolve(_fake(request), body=body, fields={**form.fields, "file": form.filename}))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[_Answered]:
        """See `rivya_async.Transport`."""
        yield _Answered(await self.ask(_fake(request)))

    @asynccontextmanager
    async def fetch(self, url: str, headers: Mapping[str, str], *, only_public: bool) -> AsyncIterator[_Answered]:  # noqa: ARG002 - it has no addresses
        """See `rivya_async.Transport`."""
        yield _Answered(await self.ask(FakeRequest("GET", url, headers=dict(headers))))

    async def aclose(self) -> None:
        """There is nothing to close."""

    def abandon(self) -> None:
        """There is nothing to let go of."""

    async def ask(self, request: FakeRequest) -> Response:
        """What the function answers to a request that no session has made. Raises what it raises or returns."""
        self.requests.append(request)
        await asyncio.sleep(0)  # a network never answers at once
        reply = self._answer(request)
        if inspect.isawaitable(reply):
            reply = await reply
        if isinstance(reply, RivyaError):
            raise reply
        if isinstance(reply, Mapping):
            reply = FakeResponse(json=reply)
        if not isinstance(reply, FakeResponse):
            raise TypeError(
                f"the function answered {request.method} {request.path} with {reply!r:.80}: "
                "return a FakeResponse, a mapping or a RivyaError"
            )
        if reply.json is None:
            return Response(reply.status, _Headers(reply.headers), reply.body)
        headers = _Headers({"Content-Type": "application/json", **reply.headers})
        return Response(reply.status, headers, json.dumps(reply.json).encode())


class _Answered:
    """An answer whose body comes in one piece."""

    def __init__(self, response: Response) -> None:
        self.head = attrs.evolve(response, body=b"")
        self._left = response.body

    async def read(self) -> bytes:
        """The body, then nothing."""
        piece, self._left = self._left, b""
        return piece


class _Headers(dict[str, str]):
    """Headers that are found in any case."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__({name.lower(): str(value) for name, value in given.items()})

    def get(self, name: str, default: Any = None) -> Any:
        """The header of this name."""
        return super().get(name.lower(), default)


def _fake(request: Request) -> FakeRequest:
    return FakeRequest(
        request.method, request.path, request.body or b"", request.idempotency_key, headers=request.headers(None)
    )
