"""Acting once under an Idempotency-Key: replay what is stored under it, or act and store."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import attrs

from .api_error import ApiError
from .idempotency import MAX_LENGTH, IdempotencyStore
from .request_context import RequestContext
from .responses import ApiResponse
from .sse import at_once


async def once(
    memory: IdempotencyStore, visit: RequestContext, canonical: bytes, act: Callable[[], Awaitable[ApiResponse]]
) -> ApiResponse:
    """The answer to this visit, whose body is `canonical`. A stream is stored whole and replayed without pauses."""
    key = visit.idempotency_key
    if key is None or visit.route is None:
        return await act()
    if not 1 <= len(key) <= MAX_LENGTH:
        raise ApiError("validation_failed", f"Idempotency-Key has 1 to {MAX_LENGTH} characters.")
    scope = visit.account_id, visit.route.name, key
    fingerprint = hashlib.sha256(canonical).digest()
    stored = memory.claim(scope, fingerprint, visit.now)
    if stored is not None:
        visit.task_id, visit.is_replay = stored.task_id, True
        return stored
    visit.claimed = scope
    answer = await act()
    memory.keep(scope, fingerprint, attrs.evolve(answer, pieces=at_once(answer.pieces)), visit.now)
    return answer
