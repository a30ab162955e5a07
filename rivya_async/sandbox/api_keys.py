"""API keys: their scopes, their check, and the request limit of each."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Set as AbstractSet
from typing import Final

import attrs

from .responses import ApiError

ALL_SCOPES: Final = frozenset(
    {
        "models:read",
        "generations:create",
        "generations:read",
        "files:create",
        "files:read",
        "credits:read",
        "webhooks:manage",
        "chat:create",
        "chat:read",
    }
)
"""The scopes of a new key by default."""

DEFAULT_RATE_WINDOW: Final = 60.0
"""Length of a rate limit window, in seconds."""


@attrs.frozen
class ApiKey:
    """One API key of an account."""

    secret: str = attrs.field(repr=False)
    account_id: str
    scopes: AbstractSet[str] = ALL_SCOPES
    is_revoked: bool = False
    is_expired: bool = False


def generate_api_key(seed: object, name: str) -> str:
    """Returns a key in the service's format, `rvya_sk_` and 32 URL-safe characters; equal for equal arguments."""
    digest = hashlib.sha256(f"{seed}/key/{name}".encode()).digest()
    return "rvya_sk_" + base64.urlsafe_b64encode(digest[:24]).decode()


def parse_bearer_token(authorization: str | None) -> str:
    """Returns the key of an `Authorization` header; raises `ApiError` (api_key_missing) without one."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise ApiError("api_key_missing", "The API key is missing. Send Authorization: Bearer rvya_sk_...")
    return secret.strip()


def authorize(key: ApiKey | None, scope: str) -> ApiKey:
    """Returns `key` if it is valid and has `scope`; raises `ApiError` otherwise."""
    if key is None:
        raise ApiError("api_key_invalid", "This API key is not known.")
    if key.is_revoked:
        raise ApiError("api_key_revoked", "This API key was revoked.")
    if key.is_expired:
        raise ApiError("api_key_expired", "This API key has expired.")
    if scope not in key.scopes:
        raise ApiError("api_scope_denied", f"This API key lacks the scope {scope}.")
    return key


class RateLimiter:
    """A limit of requests per key in fixed windows; a `limit` of None is no limit. The mechanism is assumed."""

    def __init__(self, limit: int | None, window: float = DEFAULT_RATE_WINDOW) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"rate_limit must be at least 1 request per window, or None, not {limit!r}")
        if not 0.0 < window < math.inf:
            raise ValueError(f"rate_window must be a number of seconds above 0, not {window!r}")
        self.limit = limit
        self.window = window
        self._current_window = -math.inf
        self._counts: dict[str, int] = {}

    def check(self, secret: str, now: float) -> None:
        """Counts one request; raises `ApiError` (rate_limited, with Retry-After) if the window is full."""
        if self.limit is None:
            return
        current = now // self.window
        if current != self._current_window:
            self._current_window = current
            self._counts.clear()
        self._counts[secret] = self._counts.get(secret, 0) + 1
        if self._counts[secret] > self.limit:
            delay = max(1, math.ceil((current + 1) * self.window - now))
            raise ApiError(
                "rate_limited",
                f"The limit is {self.limit} requests per {self.window:g} s. Retry after {delay} s.",
                headers={"Retry-After": str(delay)},
            )
