"""When a request needs an idempotency key, and what a valid one is (contract section 4 and point 15 of section 14)."""

from __future__ import annotations

from typing import Final

from .. import assumptions
from ..errors import ConfigurationError

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

IDEMPOTENT_METHODS: Final = SAFE_METHODS | {"DELETE", "PATCH"}
"""Twice is once: of this API's PATCH too, which sets members to values."""

KEY_EXPIRY_MARGIN: Final = 3600.0
"""Seconds before the service forgets a key in which nothing is sent under it any more: a call may take its time."""


def key_time_left(intent_at: float | None, now: float) -> float:
    """Seconds for which a purchase of this instant may be repeated under its key; 0 if it may not.

    Both are seconds since the epoch: the intent may be of another process, or machine.
    """
    return max(0.0, (intent_at or 0.0) + assumptions.IDEMPOTENCY_KEY_LIFETIME - KEY_EXPIRY_MARGIN - now)


def needs_key(method: str) -> bool:
    """Whether sending this method twice could act twice."""
    return method not in SAFE_METHODS


def is_idempotent(method: str) -> bool:
    """Whether sending this method twice leaves what sending it once does, key or none."""
    return method in IDEMPOTENT_METHODS


def validate_key(key: str) -> str:
    """The key itself, or a `ConfigurationError`: 1 to 255 visible ASCII characters, as a header can carry them."""
    if not isinstance(key, str):
        raise ConfigurationError(f"idempotency_key must be a string, not {type(key).__name__}")
    if not 1 <= len(key) <= assumptions.IDEMPOTENCY_KEY_MAX_LENGTH:
        raise ConfigurationError(
            f"idempotency_key has {len(key)} characters: use 1 to {assumptions.IDEMPOTENCY_KEY_MAX_LENGTH}"
        )
    if " " in key or not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"idempotency_key {key!r} cannot travel in a header: use visible ASCII characters without blanks"
        )
    return key
