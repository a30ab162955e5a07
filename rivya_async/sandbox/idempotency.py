"""Idempotency keys: the first successful response under a key is stored and replayed.

Assumed: a key is scoped to account and endpoint; another body, or a first request that is still running, is a conflict;
responses are kept for 24 hours; a key has 1 to 255 characters; errors are not stored.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from .request_context import RequestContext
from .responses import ApiError, ApiResponse, validation_error
from .sse import without_delays
from .store import StateStore

RETENTION: Final = 24 * 3600.0
"""Seconds for which a response is kept."""

MAX_KEY_LENGTH: Final = 255
"""Longest key, in characters."""

KeyScope = tuple[str, str, str]
"""Account id, endpoint and key."""


@attrs.frozen
class StoredResponse:
    """The response under a key. `fingerprint` is the hash of the request body."""

    scope: KeyScope
    fingerprint: bytes
    response: ApiResponse
    expires_at: float

    @property
    def store_key(self) -> str:
        """The key in the state store."""
        return "\n".join(self.scope)


class IdempotencyStore:
    """The stored responses, the oldest first, and the keys whose first request is running."""

    def __init__(self, store: StateStore | None = None) -> None:
        self._store = store or StateStore()
        self._stored = OrderedDict((stored.scope, stored) for stored in self._store.load(StoredResponse))
        self._running: set[KeyScope] = set()

    def claim(self, scope: KeyScope, fingerprint: bytes, now: float) -> ApiResponse | None:
        """Returns the response to replay; None if the caller has to act. Raises `ApiError` on a conflict."""
        while self._stored and (oldest := next(iter(self._stored.values()))).expires_at <= now:
            del self._stored[oldest.scope]
            self._store.drop(oldest.store_key, StoredResponse)
        if scope in self._running:
            raise ApiError("idempotency_conflict", "The first request with this Idempotency-Key is still running.")
        stored = self._stored.get(scope)
        if stored is None:
            self._running.add(scope)
            return None
        if stored.fingerprint != fingerprint:
            raise ApiError("idempotency_conflict", "This Idempotency-Key was used with a different request body.")
        return stored.response

    def save(self, scope: KeyScope, fingerprint: bytes, response: ApiResponse, now: float) -> None:
        """Stores the response of a claimed key."""
        stored = self._stored[scope] = StoredResponse(scope, fingerprint, response, now + RETENTION)
        self._store.put(stored.store_key, stored)

    def release(self, scope: KeyScope) -> None:
        """Ends the claim of a key: its request is finished."""
        self._running.discard(scope)

    async def run_once(
        self, context: RequestContext, canonical_body: bytes, act: Callable[[], Awaitable[ApiResponse]]
    ) -> ApiResponse:
        """Returns the stored response under the request's key, or acts and stores. Replayed streams have no delays."""
        key = context.idempotency_key
        if key is None or context.route is None:
            return await act()
        if not 1 <= len(key) <= MAX_KEY_LENGTH:
            raise validation_error(f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} characters.")
        scope = context.account_id, context.route.name, key
        fingerprint = hashlib.sha256(canonical_body).digest()
        stored = self.claim(scope, fingerprint, context.now)
        if stored is not None:
            context.task_id, context.is_replay = stored.task_id, True
            return stored
        context.idempotency_scope = scope
        response = await act()
        self.save(scope, fingerprint, attrs.evolve(response, events=without_delays(response.events)), context.now)
        return response
