"""The resources `credits` and `openapi`: the account's balance and the service's own document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        """Returns the current balance. Raises what any read can raise. Safe to cancel."""
        return await self._engine().executor.execute(operations.retrieve_credits())


class OpenApi:
    """The service's OpenAPI document."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def retrieve(self) -> dict[str, Any]:
        """Returns the document unchanged. Needs no API key. The service does not document its content.

        Raises what any read can raise. Safe to cancel.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         return sorted((await session.openapi.retrieve())["paths"])[0]
        >>> asyncio.run(main())
        '/api/v1/chat/completions'
        """
        return await self._engine().executor.execute(operations.retrieve_openapi())
