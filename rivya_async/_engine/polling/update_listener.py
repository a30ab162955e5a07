"""Telling a listener of every changed snapshot of a job."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable

from ..._core.errors import ConfigurationError
from ..._core.types.generations import Generation

OnUpdate = Callable[[Generation], Awaitable[None] | None]
"""Told of every changed snapshot of a job; may be a plain or an async function."""


def validate_listener(on_update: OnUpdate | None) -> None:
    """Raise `ConfigurationError` for what cannot be told."""
    if on_update is not None and not callable(on_update):
        raise ConfigurationError(f"on_update must be a function of one Generation, not {on_update!r}")


async def notify_listener(on_update: OnUpdate, generation: Generation) -> None:
    """Call it, and wait for it if it is to be awaited."""
    told = on_update(generation)
    if inspect.isawaitable(told):
        await told


async def consume_updates(updates: AsyncGenerator[Generation], on_update: OnUpdate) -> Generation:
    """The terminal record, after every snapshot has been told of."""
    last: Generation | None = None
    try:
        async for generation in updates:
            last = generation
            await notify_listener(on_update, generation)
    finally:
        await updates.aclose()
    if last is None:
        raise ConfigurationError("a watched job ended without a record")
    return last
