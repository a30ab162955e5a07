"""The session of the pytest fixture, which closes without a call of the test."""

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

CLOSE_TIMEOUT: Final = 1.0
"""Seconds that pending requests get after a test before they are cancelled."""


class AutoClosingSession(RivyaSession):
    """A session that closes together with its event loop, after all tasks and async fixtures."""

    def __init__(self, *args: Any, is_virtual: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_virtual = is_virtual
        self._close_generator: AsyncGenerator[None, None] | None = None

    def _open_engine(self) -> Engine:
        if self._is_virtual and not isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
            raise ConfigurationError(
                "rivya_session was used by an async fixture of a rivya_virtual_time test: the fixture runs on another "
                "event loop. Use rivya_session in the test itself."
            )
        engine = super()._open_engine()
        if self._close_generator is None:
            self._close_generator = _close_at_exit(self)
            with suppress(StopIteration):
                self._close_generator.__anext__().send(None)  # registers it with the loop, which closes it at shutdown
        return engine

    def close_on_its_loop(self) -> None:
        """Closes the session if its event loop continues after the test."""
        if self._close_generator is not None and self._engine is not None and not self._engine.loop.is_closed():
            self._engine.loop.run_until_complete(self._close_generator.aclose())


async def _close_at_exit(session: RivyaSession) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await session.aclose()
