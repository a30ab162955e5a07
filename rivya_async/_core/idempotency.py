"""Idempotency keys: which are valid, and which methods need none (contract section 4, assumption 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import assumptions
from .errors import ConfigurationError, RivyaError

if TYPE_CHECKING:
    from types import TracebackType

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods without side effects."""

IDEMPOTENT_METHODS: Final = SAFE_METHODS | {"DELETE", "PATCH"}
"""Methods with the same effect when repeated. PATCH of this API is one: it sets members to values."""

KEY_EXPIRY_MARGIN: Final = 3600.0
"""Seconds before the expiry of a key in which no request is sent under it: a request may take long."""


def key_time_left(intent_at: float | None, now: float) -> float:
    """Returns the seconds for which a purchase may be repeated under its key; 0 if it may not.

    Both arguments are seconds since the epoch: the intent may come from another process or machine.
    """
    return max(0.0, (intent_at or 0.0) + assumptions.IDEMPOTENCY_KEY_LIFETIME - KEY_EXPIRY_MARGIN - now)


def is_idempotent(method: str) -> bool:
    """Returns True if repeated requests with this method act once, even without a key."""
    return method in IDEMPOTENT_METHODS


def validate_key(key: str) -> str:
    """Returns the key, or raises `ConfigurationError` unless it has 1 to 255 visible ASCII characters."""
    if not isinstance(key, str):
        raise ConfigurationError(f"idempotency_key must be a string, not {type(key).__name__}")
    if not 1 <= len(key) <= assumptions.IDEMPOTENCY_KEY_MAX_LENGTH:
        raise ConfigurationError(
            f"idempotency_key has {len(key)} characters: use 1 to {assumptions.IDEMPOTENCY_KEY_MAX_LENGTH}"
        )
    if " " in key or not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"idempotency_key {key!r} cannot be sent in a header: use visible ASCII characters without blanks"
        )
    return key


def add_idempotency_key(error: RivyaError, key: str | None) -> None:
    """Adds the key of the purchase to an error that has none."""
    if error.idempotency_key is None:
        error.idempotency_key = key


class attach_idempotency_key:  # noqa: N801 - called like a function, as contextlib.suppress is
    """Context manager that adds the key of the purchase to errors raised inside it.

    A generator with `contextmanager` would need half a kilobyte per waiting job.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, RivyaError):
            add_idempotency_key(error, self._key)
