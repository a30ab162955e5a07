"""What the service remembers about idempotency keys. It is told the time.

Assumed: scope is account and endpoint; the same key with the same body replays the stored answer; another body, or a
first request that is still running, is a conflict; 24 hours; 1 to 255 characters; refusals are not stored.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

from .api_error import ApiError
from .responses import ApiResponse
from .store import StateStore

MEMORY: Final = 24 * 3600.0
"""Seconds for which an answer is kept."""

MAX_LENGTH: Final = 255
"""Longest key, in characters."""

Scope = tuple[str, str, str]
"""Account id, endpoint, key."""


@attrs.frozen
class StoredResponse:
    """What a key gave, until it is forgotten."""

    scope: Scope
    fingerprint: bytes
    answer: ApiResponse
    forget_at: float

    @property
    def name(self) -> str:
        """For the store."""
        return "\n".join(self.scope)


class IdempotencyStore:
    """Answers by key. `claim` before acting, `keep` a good answer, `release` when the request is over."""

    def __init__(self, store: StateStore | None = None) -> None:
        self._store = store or StateStore()
        self._stored = {stored.scope: stored for stored in self._store.load(StoredResponse)}
        self._running: set[Scope] = set()
        self._oldest = deque(self._stored.values())

    def claim(self, scope: Scope, fingerprint: bytes, now: float) -> ApiResponse | None:
        """The stored answer to replay, or None: act now. Raises `Refused` on a conflict."""
        self._forget(now)
        if scope in self._running:
            raise ApiError("idempotency_conflict", "The first request with this Idempotency-Key is still running.")
        stored = self._stored.get(scope)
        if stored is None:
            self._running.add(scope)
            return None
        if stored.fingerprint != fingerprint:
            raise ApiError("idempotency_conflict", "This Idempotency-Key was used with a different request body.")
        return stored.answer

    def keep(self, scope: Scope, fingerprint: bytes, answer: ApiResponse, now: float) -> None:
        """Store the answer for a day."""
        stored = self._stored[scope] = StoredResponse(scope, fingerprint, answer, now + MEMORY)
        self._oldest.append(stored)
        self._store.put(stored.name, stored)

    def release(self, scope: Scope) -> None:
        """The request that claimed the key has been answered."""
        self._running.discard(scope)

    def _forget(self, now: float) -> None:
        while self._oldest and self._oldest[0].forget_at <= now:
            stored = self._oldest.popleft()
            self._stored.pop(stored.scope, None)
            self._store.drop(stored.name, StoredResponse)
