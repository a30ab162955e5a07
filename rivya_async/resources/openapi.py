"""The noun `openapi`: what the service says of its own API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.http import operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._engine.engine import Engine


class OpenApi:
    """The service's OpenAPI document."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def retrieve(self) -> dict[str, Any]:
        """The document as it comes; no API key is needed. No page shows its content: contract section 12.

        Raises what any read can raise. Safe to cancel.

        >>> async def example(session):
        ...     return sorted((await session.openapi.retrieve())["paths"])[0]
        >>> in_sandbox(example)
        '/api/v1/chat/completions'
        """
        return await self._engine().executor.execute(operations.retrieve_openapi())
