"""When the next poll is due, as numbers: no clock, no dice."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

import backoff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .policies import PollPolicy

FIRST_SPREAD: Final = 0.2
"""The first poll comes at `first` give or take this share: 2 to 3 s for 2.5 s, the service's own advice."""

CAP_PER_AGE: Final = 0.1
"""The cap of the interval grows to this share of the job's age."""


def next_delay(policy: PollPolicy, n: int, u: float, age: float = 0.0) -> float:
    """Seconds to the poll that follows `n` polls of a job that is `age` seconds old, for a draw `u` from [0, 1)."""
    if n == 0:
        return policy.first * (1.0 - FIRST_SPREAD + 2.0 * FIRST_SPREAD * u)
    rising = _rising_ceilings(policy.base, policy.factor, policy.cap)
    ceiling = rising[n - 1] if n <= len(rising) else max(policy.cap, CAP_PER_AGE * age)
    return policy.floor + u * max(0.0, ceiling - policy.floor)


@lru_cache(maxsize=64)
def _rising_ceilings(base: float, factor: float, cap: float) -> tuple[float, ...]:
    """`backoff.expo` up to where it reaches the cap."""
    if factor == 1.0:
        return ()
    return tuple(takewhile(lambda ceiling: ceiling < cap, expo(base=base, factor=factor)))


def expo(*, base: float, factor: float) -> Iterator[float]:
    """base, base * factor, base * factor**2, ... (backoff names them the other way round and starts with a None)."""
    return islice(backoff.expo(base=factor, factor=base), 1, None)
