"""The noun `credits`: what is left in the wallet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.http import operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.types.generations import Credits
    from .._engine.engine import Engine


class CreditsResource:
    """The balance of the account."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def retrieve(self) -> Credits:
        """The balance now. Raises what any read can raise. Safe to cancel."""
        return await self._engine().executor.execute(operations.retrieve_credits())
