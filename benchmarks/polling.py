"""The policies that are compared: when each of them looks at a job."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.polling.intervals import adaptive_interval, backoff_interval

GROUP: Final = "model"


class Advice:
    """The service's own advice: the first poll after 2 to 3 s, then one every 5 to 10 s."""

    learns = False

    def __init__(self, stretch: float = 1.0) -> None:
        self._stretch = stretch
        self._dice = random.Random(1)

    def delay(self, n: int, u: float, age: float) -> float:  # noqa: ARG002 - as every policy
        """Drawn anew for every interval."""
        return self._stretch * (self._dice.uniform(5.0, 10.0) if n else self._dice.uniform(2.0, 3.0))

    def saw_open(self, age: float, since: float) -> None:
        """Learns nothing."""

    def saw_end(self, duration: float, since: float) -> None:
        """Learns nothing."""


class Backoff(Advice):
    """The SDK where it has learned nothing: full jitter between a floor and a cap."""

    def __init__(self, stretch: float = 1.0) -> None:
        super().__init__()
        default = PollPolicy()
        self._policy = PollPolicy(
            first=default.first * stretch,
            base=default.base * stretch,
            cap=default.cap * stretch,
            floor=default.floor * stretch,
        )

    def delay(self, n: int, u: float, age: float) -> float:  # noqa: ARG002 - as every policy
        """Drawn anew for every interval."""
        return backoff_interval(self._policy, n, self._dice.random(), age)


class Learned(Backoff):
    """The SDK with what it has learned, by the very functions that a session calls."""

    def __init__(self, stretch: float = 1.0, *, counts_open: bool = True) -> None:
        super().__init__()
        self.stretch = stretch
        self.learns = True
        self._counts_open = counts_open
        self._durations = DurationEstimator()

    def delay(self, n: int, u: float, age: float) -> float:
        """By what is known at this moment; nothing: by the backoff."""
        curve = self._durations.curve_for(GROUP)
        if curve is None:
            return super().delay(n, u, age)
        return adaptive_interval(curve, self._policy, n, u, age, slowdown=self.stretch)

    def saw_open(self, age: float, since: float) -> None:
        """Counts it as open."""
        if self.learns and self._counts_open:
            self._durations.observe_open(GROUP, age, since)

    def saw_end(self, duration: float, since: float) -> None:
        """Learns its duration."""
        if self.learns:
            self._durations.observe(GROUP, duration, since if self._counts_open else 0.0)


class Fixed(Advice):
    """Polls at these ages, the last interval for ever: a schedule that was reckoned before."""

    def __init__(self, ages: Sequence[float]) -> None:
        super().__init__()
        self._ages = ages

    def delay(self, n: int, u: float, age: float) -> float:  # noqa: ARG002 - as every policy
        """To the next of the ages."""
        return self._ages[n] - age if n < len(self._ages) else self._ages[-1] - self._ages[-2]
