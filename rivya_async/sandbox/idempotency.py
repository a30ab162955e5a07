"""What the service remembers about idempotency keys. Pure: it is told the time.

Assumed: scope is account and endpoint; the same key with the same body replays the stored answer; another body, or a
first request that is still running, is a conflict; 24 hours; 1 to 255 characters; refusals are not stored.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

from .answer import Answer
from .refused import Refused

MEMORY: Final = 24 * 3600.0
"""Seconds for which an answer is kept."""

MAX_LENGTH: Final = 255
"""Longest key, in characters."""

Scope = tuple[str, str, str]
"""Account id, endpoint, key."""


@attrs.frozen
class _Stored:
    fingerprint: bytes
    answer: Answer


class Memory:
    """Answers by key. `claim` before acting, `keep` a good answer, `release` when the request is over."""

    def __init__(self) -> None:
        self._stored: dict[Scope, _Stored] = {}
        self._running: set[Scope] = set()
        self._forget_at: deque[tuple[float, Scope]] = deque()

    def claim(self, scope: Scope, fingerprint: bytes, now: float) -> Answer | None:
        """The stored answer to replay, or None: act now. Raises `Refused` on a conflict."""
        self._forget(now)
        if scope in self._running:
            raise Refused("idempotency_conflict", "The first request with this Idempotency-Key is still running.")
        stored = self._stored.get(scope)
        if stored is None:
            self._running.add(scope)
            return None
        if stored.fingerprint != fingerprint:
            raise Refused("idempotency_conflict", "This Idempotency-Key was used with a different request body.")
        return stored.answer

    def keep(self, scope: Scope, fingerprint: bytes, answer: Answer, now: float) -> None:
        """Store the answer for a day."""
        self._stored[scope] = _Stored(fingerprint, answer)
        self._forget_at.append((now + MEMORY, scope))

    def release(self, scope: Scope) -> None:
        """The request that claimed the key has been answered."""
        self._running.discard(scope)

    def _forget(self, now: float) -> None:
        while self._forget_at and self._forget_at[0][0] <= now:
            self._stored.pop(self._forget_at.popleft()[1], None)
