"""Rate limiter with permits from outside, for processes that share the limit of one account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..public_module import set_public_module

if TYPE_CHECKING:
    from collections.abc import Callable


class ExternalRateLimiter:
    """Replacement for a `RateLimit` of a session: another component keeps the limit and grants permits to the session.

    `request_more` is called with the number of waiting requests if no permit is left; it must not block. Permits are
    valid until they are used or revoked. A `Retry-After` and the pauses of an outage still apply; the session does not
    estimate a rate. A limiter serves one session.

    >>> limiter = ExternalRateLimiter(lambda waiting: None)
    >>> limiter.grant(5)
    >>> limiter
    <ExternalRateLimiter: 5 available>
    """

    def __init__(self, request_more: Callable[[int], None]) -> None:
        self.available: float = 0
        """Requests that may be sent now; `math.inf` for no limit."""
        self._request_more = request_more
        self._on_grant: Callable[[], None] | None = None
        self._is_claimed = False

    def __repr__(self) -> str:
        return f"<ExternalRateLimiter: {self.available:g} available>"

    def grant(self, requests: float) -> None:
        """Adds permits. Call it on the event loop of the session."""
        self.available += requests
        if self._on_grant is not None:
            self._on_grant()

    def revoke(self) -> None:
        """Removes all permits."""
        self.available = 0

    def request_more(self, waiting: int) -> None:
        """Reports the number of requests that wait for permits."""
        self._request_more(waiting)

    def claim(self) -> None:
        """Binds the limiter to a session. Raises `ConfigurationError` if it is bound to another one."""
        if self._is_claimed:
            raise ConfigurationError("this rate limiter serves another session: create one for each session")
        self._is_claimed = True

    def set_grant_callback(self, callback: Callable[[], None]) -> None:
        """Sets the callback that runs after each grant."""
        self._on_grant = callback


set_public_module("rivya_async", ExternalRateLimiter)
