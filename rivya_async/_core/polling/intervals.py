"""When the next poll is due, as numbers: no clock, no dice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..policies import PollPolicy
    from .adaptive.hazard_curve import HazardCurve

FIRST_POLL_JITTER: Final = 0.2
"""The first poll comes at `first` give or take this share: 2 to 3 s for 2.5 s, the service's own advice."""

CAP_AGE_SHARE: Final = 0.1
"""The cap of the interval grows to this share of the job's age."""

POLL_COST: Final = 0.6
"""Seconds of latency that one poll is worth: where jobs take half a minute, fewer polls than by the service's advice
find the end sooner, whatever the spread (`python -m benchmarks schedule` measures it)."""

POLL_SPACING: Final = math.sqrt(2.0 * POLL_COST)
"""The integral of sqrt(h) between two polls."""

FIRST_POLL_SPACING: Final = 1.6
"""The first poll comes after 0.6 to 1.6 intervals: while the hazard rises from nothing, early costs more than late."""


def backoff_interval(policy: PollPolicy, n: int, u: float, age: float = 0.0) -> float:
    """Seconds to the poll that follows `n` polls of a job that is `age` seconds old, for a draw `u` from [0, 1)."""
    if n == 0:
        return policy.first * (1.0 - FIRST_POLL_JITTER + 2.0 * FIRST_POLL_JITTER * u)
    rising = _interval_ceiling(policy, n - 1)
    ceiling = rising if rising < policy.cap else max(policy.cap, CAP_AGE_SHARE * age)
    return policy.floor + u * max(0.0, ceiling - policy.floor)


def _interval_ceiling(policy: PollPolicy, k: int) -> float:
    """The k-th number of `backoff.expo`, reckoned at once: a wait may have thousands of polls."""
    try:
        return policy.base * policy.factor**k
    except OverflowError:
        return math.inf


def adaptive_interval(
    curve: HazardCurve, policy: PollPolicy, n: int, u: float, age: float = 0.0, *, stretch: float = 1.0
) -> float:
    """Seconds to the poll that follows `n` polls of a job that is `age` seconds old, by the durations of jobs like it.

    Polls at intervals of sqrt(2 * PRICE / h(t)), h being the hazard, cost least in latency and polls together (Barlow &
    Proschan 1965; Keller 1974). So each comes when the integral of sqrt(h / (2 * PRICE)) has grown by 1, but the first
    when it has grown by FIRST_INTERVAL - u: jobs that begin at once are not polled at once.

    Never sooner than `policy.floor`. At most `policy.cap`, or a tenth of the age, but counted from the age at which a
    quarter of such jobs has ended: the first poll of a job of minutes can wait. `stretch` makes every interval longer,
    the cap too: the price of a poll rises by its square.
    """
    spacing = POLL_SPACING * stretch * (FIRST_POLL_SPACING - u if n == 0 else 1.0)
    delay = curve.age_at(curve.integral(age) + spacing) - age
    unsettled = max(0.0, curve.settled_age - age)
    cap = max(policy.cap * stretch, CAP_AGE_SHARE * (age + unsettled))
    return min(max(delay, policy.floor), unsettled + cap)


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
