"""The seam between us and the network: a request goes in, a response comes out, or one of two errors.

A transport decides nothing. It raises `RequestNotSentError` where the request cannot have left, `OutcomeUnknownError`
where it may have acted, and returns every answer, whatever its status. It sends each request exactly once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Final, Protocol

from ..._core.http.messages import MultipartForm, Request, Response

USER_AGENT: Final = f"rivya-async/{version('rivya-async')}"
"""The User-Agent header of every request."""


class StreamingResponse(Protocol):
    """An answer whose body has not been read yet."""

    @property
    def head(self) -> Response:
        """Status and headers; the body is empty."""
        ...

    async def read(self) -> bytes:
        """The next piece of the body, empty at its end. Raises `OutcomeUnknownError` where it breaks off."""
        ...


class RequestSender(Protocol):
    """What a caller needs of a network."""

    async def send(self, request: Request) -> Response:
        """Send it once and read the answer to its end."""
        ...


class Transport(RequestSender, Protocol):
    """What the engine needs of a network."""

    @property
    def max_connections(self) -> int:
        """How many requests it bears at once; what has to wait inside it would use up its time-out."""
        ...

    def fetch(
        self, url: str, headers: Mapping[str, str], *, only_public: bool
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        """GET an absolute URL of any host, without the API key, and stream the answer. A redirect is an answer.

        `only_public`: raises `DownloadError` where the host is not on the public internet.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamingResponse]:
        """Send it once and read the answer piece by piece, for as long as there is one now and then."""
        ...

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        """Send it once as a form with this file, as it is read, and read the answer to its end."""
        ...

    async def aclose(self) -> None:
        """Close every connection. Does nothing the second time."""

    def abandon(self) -> None:
        """Let go of every connection at once, for an owner that was never closed; does not wait."""
