"""Requests that are granted from outside, a few at a time: how many processes share the limit of one account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


class Allowance:
    """What a session may send, in place of a `RateLimit`: somebody else keeps the limit and grants a part of it.

    `wanted` is called with how many requests wait, whenever one finds nothing left; it must not block. What is granted
    goes out at once, and lasts until it is used or withdrawn. Only a hold (a Retry-After) and the pauses of an outage
    come on top; a rate of its own such a session does not learn. One allowance serves one session.

    >>> allowance = Allowance(lambda waiting: None)
    >>> allowance.grant(5)
    >>> allowance
    <Allowance: 5 left>
    """

    def __init__(self, wanted: Callable[[int], None]) -> None:
        self.left: float = 0
        """Requests that may go out now; `math.inf` while there is no limit."""
        self._wanted = wanted
        self._granted: Callable[[], None] | None = None
        self._is_claimed = False

    def __repr__(self) -> str:
        return f"<Allowance: {self.left:g} left>"

    def grant(self, requests: float) -> None:
        """Let so many more requests out. Call it on the session's event loop."""
        self.left += requests
        if self._granted is not None:
            self._granted()

    def withdraw(self) -> None:
        """Nothing is left."""
        self.left = 0

    def want(self, waiting: int) -> None:
        """Say that so many requests wait, and nothing is left."""
        self._wanted(waiting)

    def claim(self) -> None:
        """It is for one session from now on. `ConfigurationError` where it is for another."""
        if self._is_claimed:
            raise ConfigurationError("this allowance serves another session: make one for each")
        self._is_claimed = True

    def serve(self, granted: Callable[[], None]) -> None:
        """Call `granted` after each grant."""
        self._granted = granted
