"""A session that a fixture made, and nobody closes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError
from ..session import RivyaSession
from .virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._engine.engine import Engine

PATIENCE: Final = 1.0
"""Seconds that requests on their way get when a test has ended; then they are cut."""


class KeptSession(RivyaSession):
    """Closes itself with the loop that it is used on: when all tasks there have ended, and all async fixtures."""

    def __init__(self, *arguments: Any, is_virtual: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_virtual = is_virtual
        self._end: AsyncGenerator[None, None] | None = None

    def _open_engine(self) -> Engine:
        if self._is_virtual and not isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
            raise ConfigurationError(
                "in virtual time rivya_session is for the test itself, not for async fixtures: theirs is another loop"
            )
        engine = super()._open_engine()
        if self._end is None:
            self._end = _end(self)
            with suppress(StopIteration):
                self._end.__anext__().send(None)  # the loop knows of it now, and closes it at last
        return engine

    def close_on_its_loop(self) -> None:
        """What is left to do where the loop goes on after the test."""
        if self._end is not None and self._engine is not None and not self._engine.loop.is_closed():
            self._engine.loop.run_until_complete(self._end.aclose())


async def _end(session: RivyaSession) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await session.aclose()
