"""The interface between the engine and the network.

A transport decides nothing and sends each request exactly once. It returns every response, also one with an error
status. It raises `RequestNotSentError` if the request was certainly not sent, and `OutcomeUnknownError` if the service
may have acted.
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
    """A response whose body is read in chunks."""

    @property
    def head(self) -> Response:
        """Returns the status and the headers, with an empty body."""
        ...

    async def read(self) -> bytes:
        """Returns the next chunk, empty at the end. Raises `OutcomeUnknownError` if the connection is lost."""
        ...


class Transport(Protocol):
    """Sends the requests of one session."""

    @property
    def max_connections(self) -> int:
        """Returns how many requests can be in flight. One that waits for a connection uses up its timeout."""
        ...

    async def send(self, request: Request) -> Response:
        """Sends the request once and reads the whole response."""
        ...

    def fetch(
        self, url: str, headers: Mapping[str, str], *, only_public: bool
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        """Streams the response to a GET of an absolute URL of any host, without API key. Follows no redirects.

        `only_public`: raises `DownloadError` for a host with a private address.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamingResponse]:
        """Sends the request once and streams the response, without a limit on the total time."""
        ...

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        """Sends the request once as a form with this file, and reads the whole response."""
        ...

    async def aclose(self) -> None:
        """Closes every connection. Further calls do nothing."""

    def abandon(self) -> None:
        """Closes every connection without waiting, for an owner that was never closed."""
