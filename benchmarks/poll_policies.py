"""Poll policies under comparison."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.polling.intervals import adaptive_interval, backoff_interval

GROUP: Final = "model"


class AdvisedPolicy:
    """The documented advice of the service: a first poll after 2 to 3 s, then one every 5 to 10 s."""

    learns = False

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._dice = random.Random(1)

    def delay(self, n: int, u: float, age: float) -> float:  # noqa: ARG002 - interface of all policies
        """Draws every interval independently."""
        return self._scale * (self._dice.uniform(5.0, 10.0) if n else self._dice.uniform(2.0, 3.0))

    def record_open(self, age: float, since: float) -> None:
        """Does nothing."""

    def record_end(self, duration: float, since: float, age: float) -> None:
        """Does nothing."""


class BackoffPolicy(AdvisedPolicy):
    """The SDK without learned durations: full jitter between a minimum and a cap."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        default = PollPolicy()
        self._policy = PollPolicy(
            first=default.first * scale,
            base=default.base * scale,
            cap=default.cap * scale,
            floor=default.floor * scale,
        )

    def delay(self, n: int, u: float, age: float) -> float:  # noqa: ARG002 - interface of all policies
        """Draws every interval independently."""
        return backoff_interval(self._policy, n, self._dice.random(), age)


class LearnedPolicy(BackoffPolicy):
    """The SDK with learned durations, calculated by the functions that a session calls."""

    def __init__(self, scale: float = 1.0, *, counts_open: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.learns = True
        self._counts_open = counts_open
        self._durations = DurationEstimator()

    def delay(self, n: int, u: float, age: float) -> float:
        """Returns the delay by the learned durations, or by the back-off without any."""
        curve = self._durations.curve_for(GROUP)
        if curve is None:
            return super().delay(n, u, age)
        return adaptive_interval(curve, self._policy, n, u, age, slowdown=self.scale)

    def record_open(self, age: float, since: float) -> None:
        """Records an open job."""
        if self.learns and self._counts_open:
            self._durations.observe_open(GROUP, age, since)

    def record_end(self, duration: float, since: float, age: float) -> None:
        """Records the duration."""
        if self.learns:
            self._durations.observe_end(GROUP, (since, age), duration, since if self._counts_open else 0.0)


class FixedPolicy(AdvisedPolicy):
    """Polls at precomputed ages; the last interval repeats."""

    def __init__(self, ages: Sequence[float]) -> None:
        super().__init__()
        self._ages = ages

    def delay(self, n: int, u: float, age: float) -> float:  # noqa: ARG002 - interface of all policies
        """Returns the seconds to the next age."""
        return self._ages[n] - age if n < len(self._ages) else self._ages[-1] - self._ages[-2]
