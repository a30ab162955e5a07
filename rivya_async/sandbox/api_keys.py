"""API keys of the sandbox and what they may do. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Set as AbstractSet
from typing import Final

import attrs

from .api_error import ApiError

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
"""What a new key may do by default."""


@attrs.frozen
class ApiKey:
    """One API key: whose it is, what it may do, whether it still lives."""

    secret: str = attrs.field(repr=False)
    account_id: str
    scopes: AbstractSet[str] = ALL_SCOPES
    is_revoked: bool = False
    is_expired: bool = False


def mint(seed: object, name: str) -> str:
    """A key that looks like the service's: `rvya_sk_` and 32 URL-safe characters, the same for the same seed."""
    digest = hashlib.sha256(f"{seed}/key/{name}".encode()).digest()
    return "rvya_sk_" + base64.urlsafe_b64encode(digest[:24]).decode()


def bearer(authorization: str | None) -> str:
    """The key in an `Authorization` header; raises `Refused` (api_key_missing) when there is none."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise ApiError("api_key_missing", "Send an API key: Authorization: Bearer rvya_sk_...")
    return secret.strip()


def check(key: ApiKey | None, scope: str) -> ApiKey:
    """`key`, if it may do `scope`; raises `Refused` otherwise."""
    if key is None:
        raise ApiError("api_key_invalid", "This API key is not known.")
    if key.is_revoked:
        raise ApiError("api_key_revoked", "This API key was revoked.")
    if key.is_expired:
        raise ApiError("api_key_expired", "This API key has expired.")
    if scope not in key.scopes:
        raise ApiError("api_scope_denied", f"This API key lacks the scope {scope}.")
    return key
