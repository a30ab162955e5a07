"""Requests that are granted from outside, a few at a time: how many processes share the limit of one account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


class ExternalRateLimiter:
    """What a session may send, in place of a `RateLimit`: somebody else keeps the limit and grants a part of it.

    `wanted` is called with how many requests wait, whenever one finds nothing left; it must not block. What is granted
    goes out at once, and lasts until it is used or withdrawn. Only a hold (a Retry-After) and the pauses of an outage
    come on top; a rate of its own such a session does not learn. One allowance serves one session.

    >>> allowance = ExternalRateLimiter(lambda waiting: None)
    >>> allowance.grant(5)
    >>> allowance
    <Allowance: 5 left>
    """

    def __init__(self, wanted: Callable[[int], None]) -> None:
        self.available: float = 0
        """Requests that may go out now; `math.inf` while there is no limit."""
        self._request_more = wanted
        self._on_grant: Callable[[], None] | None = None
        self._is_claimed = False

    def __repr__(self) -> str:
        return f"<Allowance: {self.available:g} left>"

    def grant(self, requests: float) -> None:
        """Let so many more requests out. Call it on the session's event loop."""
        self.available += requests
        if self._on_grant is not None:
            self._on_grant()

    def revoke(self) -> None:
        """Nothing is left."""
        self.available = 0

    def request_more(self, waiting: int) -> None:
        """Say that so many requests wait, and nothing is left."""
        self._request_more(waiting)

    def claim(self) -> None:
        """It is for one session from now on. `ConfigurationError` where it is for another."""
        if self._is_claimed:
            raise ConfigurationError("this allowance serves another session: make one for each")
        self._is_claimed = True

    def set_grant_callback(self, granted: Callable[[], None]) -> None:
        """Call `granted` after each grant."""
        self._on_grant = granted
