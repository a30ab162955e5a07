"""By how much the intervals of all polls are stretched when there are more than the budget allows."""

from __future__ import annotations

from typing import Final

MEASUREMENT_WINDOW: Final = 5.0
"""Seconds over which it is measured. A pause that is longer is no lack of budget: the service is down, or said wait."""

MAX_SLOWDOWN: Final = 100.0


class PollSlowdown:
    """Elapsed time over the time that the polls' clock has run: 1 within the budget, 3 if a third of the polls fit.

    With the intervals the price of a poll rises for all jobs alike, by the square: the best interval for a price of L
    seconds is sqrt(2 L / h) where h is the hazard rate.
    """

    def __init__(self, now: float) -> None:
        self._value = 1.0
        self._since = now
        self._lag = 0.0

    def factor_at(self, now: float, lag: float) -> float:
        """The stretch now, when the clock is `lag` seconds behind."""
        elapsed = now - self._since
        if elapsed >= MEASUREMENT_WINDOW:
            ran = max(elapsed - (lag - self._lag), elapsed / MAX_SLOWDOWN)
            self._value = elapsed / ran
            self.reset(now, lag)
        return self._value

    def reset(self, now: float, lag: float) -> None:
        """Measure from now on."""
        self._since, self._lag = now, lag
