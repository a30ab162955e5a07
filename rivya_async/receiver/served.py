"""What the apps have in common: whom they serve, and how they read a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .answer import Answer

READ_WITHIN: Final = 10.0
"""Seconds in which a body has to come: no longer than we assume the service to wait for the answer."""

MAX_BODY: Final = 1024 * 1024
"""Bytes that an event may have, unless its receiver says otherwise: a hundred times what one has."""


class Served(Protocol):
    """A receiver, as its apps see it."""

    @property
    def max_body(self) -> int:
        """Bytes that a body may have."""
        ...

    def open(self) -> None:
        """Before the first delivery."""
        ...

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Take one delivery."""
        ...

    async def aclose(self) -> None:
        """After the last one."""
        ...


async def gathered(read: Callable[[], Awaitable[bytes]], most: int) -> bytes | None:
    """The whole body, read until nothing comes; None as soon as it has more than `most` bytes."""
    body = bytearray()
    while piece := await read():
        body += piece
        if len(body) > most:
            return None
    return bytes(body)
