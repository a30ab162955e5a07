"""Intervals between polls, as pure functions of the policy, the age of a job and a random number.

Adaptive intervals follow from a hazard curve over bins of ages. A hazard is the expected number of ends of a job that
is open throughout a bin. The bins have equal widths on a logarithmic scale.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policies import PollPolicy

FIRST_POLL_JITTER: Final = 0.2
"""Maximum deviation of the first poll, as a share of `first`: 2 to 3 s for 2.5 s, as the service recommends."""

CAP_AGE_SHARE: Final = 0.1
"""Share of the age of a job to which the maximum interval grows."""

POLL_COST: Final = 0.6
"""Cost of a poll in seconds of latency. It yields lower latency with fewer polls than the intervals recommended by
the service, for jobs of half a minute with any spread (measured by `python -m benchmarks schedule`)."""

POLL_SPACING: Final = math.sqrt(2.0 * POLL_COST)
"""Integral of sqrt(h) between two polls, h being the hazard per second."""

FIRST_POLL_SPACING: Final = 1.6
"""Spacing of the first poll: 0.6 to 1.6 intervals. While the hazard rises, an early poll costs more than a late one."""

MEASUREMENT_WINDOW: Final = 5.0
"""Seconds over which the slowdown is measured. Longer pauses are outages or a `Retry-After`, not a slowdown."""

MAX_SLOWDOWN: Final = 100.0
"""Maximum factor of a slowdown."""

MIN_AGE: Final = 0.05
"""Start of the first bin in seconds. Earlier ends count in the first bin."""

LOG_BIN_WIDTH: Final = 0.08
"""Width of a bin in the logarithm of the age: each bin is 8 % wider than the previous one."""

BIN_COUNT: Final = 160
"""Number of bins. The last bin ends after five hours; later ends count in it."""

BIN_EDGES: Final = tuple(MIN_AGE * math.exp(LOG_BIN_WIDTH * n) for n in range(BIN_COUNT + 1))
"""Limits of the bins in seconds."""

BIN_WIDTHS: Final = tuple(end - begin for begin, end in pairwise(BIN_EDGES))
"""Widths of the bins in seconds."""

PRIOR_SPREAD: Final = 0.7
"""Spread of the prior distribution of durations (sigma of the logarithm)."""

SETTLED_HAZARD: Final = -math.log1p(-0.25)
"""Cumulative hazard of the settled age: a quarter of the jobs has ended."""

LATE_HAZARD: Final = -math.log1p(-0.95)
"""Cumulative hazard of the late age: 95 % of the jobs have ended."""


def bin_position(age: float) -> float:
    """Returns the position of an age on the scale of the bins: 3.5 is the middle of the fourth bin."""
    return max(0.0, min(math.log(age / MIN_AGE) / LOG_BIN_WIDTH, BIN_COUNT - 0.001)) if age > 0.0 else 0.0


def _compute_prior_hazards() -> tuple[float, ...]:
    scale = LOG_BIN_WIDTH / (PRIOR_SPREAD * math.sqrt(2.0))
    still_open = (math.erfc(scale * (n - BIN_COUNT)) for n in range(2 * BIN_COUNT + 1))
    return tuple(math.log(before / after) for before, after in pairwise(still_open))


_PRIOR_HAZARDS: Final = _compute_prior_hazards()


def prior_hazards(median: float) -> Sequence[float]:
    """Returns the hazards of the prior distribution with the median at this position."""
    first = BIN_COUNT - round(median)
    return _PRIOR_HAZARDS[first : first + BIN_COUNT]


class HazardCurve:
    """Integral over the age of sqrt(h), h being the hazard per second, with the settled and the late age in seconds."""

    __slots__ = ("_integrals", "late_age", "longest", "settled_age")

    def __init__(self, hazards: Sequence[float]) -> None:
        self.longest = math.inf
        """Highest age in seconds at which a job was seen open: the first poll of no job waits longer for its end."""
        self._integrals = array("d", [0.0])
        self.settled_age = self.late_age = BIN_EDGES[-1]
        integral = expected = 0.0
        for begin, width, hazard in zip(BIN_EDGES, BIN_WIDTHS, hazards, strict=False):
            integral += math.sqrt(hazard * width)
            self._integrals.append(integral)
            if expected < SETTLED_HAZARD <= expected + hazard:
                self.settled_age = begin + width
            if expected < LATE_HAZARD <= expected + hazard:
                self.late_age = begin + width
            expected += hazard

    def integral(self, age: float) -> float:
        """Returns the integral from 0 to this age."""
        n = bisect_right(BIN_EDGES, age) - 1
        if n < 0:
            return 0.0
        if n == BIN_COUNT:
            return self._integrals[-1]
        below = self._integrals[n]
        return below + (self._integrals[n + 1] - below) * (age - BIN_EDGES[n]) / BIN_WIDTHS[n]

    def age_at(self, integral: float) -> float:
        """Returns the age at which the integral reaches this value; infinity if it never does."""
        n = bisect_right(self._integrals, integral) - 1
        if n == BIN_COUNT:
            return math.inf
        below = self._integrals[n]
        return BIN_EDGES[n] + BIN_WIDTHS[n] * (integral - below) / (self._integrals[n + 1] - below)


def backoff_interval(policy: PollPolicy, n: int, u: float, age: float = 0.0) -> float:
    """Returns the seconds to the poll after `n` polls of a job of `age` seconds; `u` is a random number from [0, 1)."""
    if n == 0:
        return policy.first * (1.0 - FIRST_POLL_JITTER + 2.0 * FIRST_POLL_JITTER * u)
    ceilings = policy.ceilings
    ceiling = ceilings[n - 1] if n <= len(ceilings) else ceilings[-1]
    if ceiling >= policy.cap:
        ceiling = max(ceiling, CAP_AGE_SHARE * age)
    return policy.floor + u * max(0.0, ceiling - policy.floor)


def adaptive_interval(
    curve: HazardCurve, policy: PollPolicy, n: int, u: float, age: float = 0.0, *, slowdown: float = 1.0
) -> float:
    """Returns the seconds to the poll after `n` polls of a job of `age` seconds, by the durations of similar jobs.

    Polls at intervals of sqrt(2 * POLL_COST / h(t)), h being the hazard, minimize the cost of latency and polls (Barlow
    & Proschan 1965; Keller 1974): each comes when the integral of sqrt(h) has grown by POLL_SPACING. The first comes
    after FIRST_POLL_SPACING - u intervals, so that jobs submitted together are not polled together.

    The interval is at least `policy.floor`. It is at most `policy.cap` or a tenth of the age, counted from the age at
    which a quarter of similar jobs has ended: the first poll of a long job can wait, but no longer than the first poll
    of `backoff_interval` or `curve.longest`. `slowdown` multiplies every interval and the cap; this is optimal for a
    cost of a poll that rises by its square.
    """
    spacing = POLL_SPACING * slowdown * (FIRST_POLL_SPACING - u if n == 0 else 1.0)
    delay = curve.age_at(curve.integral(age) + spacing) - age
    unsettled = max(0.0, min(curve.settled_age, curve.longest) - age)
    cap = max(policy.cap * slowdown, CAP_AGE_SHARE * (age + unsettled))
    if n == 0:
        delay = min(delay, max(backoff_interval(policy, 0, u), curve.longest) - age)
    return min(max(delay, policy.floor), unsettled + cap)


class PollSlowdown:
    """Measured ratio of elapsed time to the time of the poll clock, which lags behind when polls exceed the rate limit.

    It is 1 if all polls fit in the rate, and 3 if a third of them fits. All intervals grow by this factor.
    """

    def __init__(self, now: float) -> None:
        self._factor = 1.0
        self._since = now
        self._lag_at_start = 0.0

    def factor_at(self, now: float, lag: float) -> float:
        """Returns the current factor for a poll clock that is `lag` seconds behind."""
        elapsed = now - self._since
        if elapsed >= MEASUREMENT_WINDOW:
            clock_time = max(elapsed - (lag - self._lag_at_start), elapsed / MAX_SLOWDOWN)
            self._factor = elapsed / clock_time
            self.reset(now, lag)
        return self._factor

    def reset(self, now: float, lag: float) -> None:
        """Starts a new measurement."""
        self._since, self._lag_at_start = now, lag
