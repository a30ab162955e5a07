"""A purchase that fails on its way out still tells its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import RivyaError

if TYPE_CHECKING:
    from types import TracebackType


class ErrorContext:
    """Every error in here carries the key of the purchase: with it, the very same purchase can be repeated.

    No generator with `contextmanager`, which would weigh half a kilobyte per waiting job.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, RivyaError) and error.idempotency_key is None:
            error.idempotency_key = self._key
