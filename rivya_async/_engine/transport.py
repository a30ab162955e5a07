"""The seam between us and the network: a request goes in, a response comes out, or one of two errors.

A transport decides nothing. It raises `NotSent` where the request cannot have left, `OutcomeUnknown` where it may have
acted, and returns every answer, whatever its status. It sends each request exactly once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .._core.message import Request, Response


class Fetched(Protocol):
    """An answer whose body has not been read yet."""

    @property
    def head(self) -> Response:
        """Status and headers; the body is empty."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece. Raises `OutcomeUnknown` where it breaks off."""
        ...


class Transport(Protocol):
    """What the engine needs of a network."""

    async def send(self, request: Request) -> Response:
        """Send it once and read the answer to its end."""
        ...

    def fetch(self, url: str) -> AbstractAsyncContextManager[Fetched]:
        """GET an absolute URL of any host, without the API key, and stream the answer."""
        ...

    async def aclose(self) -> None:
        """Close every connection. Does nothing the second time."""

    def abandon(self) -> None:
        """Let go of every connection at once, for an owner that was never closed; does not wait."""
