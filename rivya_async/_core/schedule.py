"""When the next poll is due, as numbers: no clock, no dice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .policies import PollPolicy

FIRST_SPREAD: Final = 0.2
"""The first poll comes at `first` give or take this share: 2 to 3 s for 2.5 s, the service's own advice."""

CAP_PER_AGE: Final = 0.1
"""The cap of the interval grows to this share of the job's age."""


def next_delay(policy: PollPolicy, n: int, u: float, age: float = 0.0) -> float:
    """Seconds to the poll that follows `n` polls of a job that is `age` seconds old, for a draw `u` from [0, 1)."""
    if n == 0:
        return policy.first * (1.0 - FIRST_SPREAD + 2.0 * FIRST_SPREAD * u)
    rising = _rising_ceiling(policy, n - 1)
    ceiling = rising if rising < policy.cap else max(policy.cap, CAP_PER_AGE * age)
    return policy.floor + u * max(0.0, ceiling - policy.floor)


def _rising_ceiling(policy: PollPolicy, k: int) -> float:
    """The k-th number of `backoff.expo`, reckoned at once: a wait may have thousands of polls."""
    try:
        return policy.base * policy.factor**k
    except OverflowError:
        return math.inf
