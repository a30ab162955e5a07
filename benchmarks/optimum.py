"""The best that any policy can do where the distribution of durations is known: by dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GRID = 1500
"""Ages at which a poll may come, equally far apart on a logarithmic scale."""


def best_ages(durations: Sequence[float], price: float) -> list[float]:
    """The ages of the polls that cost least in latency and polls, a poll being worth `price` seconds of latency.

    From the last age to the first: V(t) = min over x > t of price * P(open at t) + E[x - duration; t < duration <= x]
    + V(x).
    """
    ordered = np.sort(np.asarray(durations))
    ages = np.concatenate([[0.0], np.geomspace(ordered[0] * 0.9, ordered[-1] * 1.0001, GRID)])
    ended_by = np.searchsorted(ordered, ages, side="right")
    ended = ended_by / len(ordered)
    seconds = np.concatenate([[0.0], np.cumsum(ordered)])[ended_by] / len(ordered)
    value = np.zeros(len(ages))
    following = np.zeros(len(ages), dtype=int)
    for n in range(len(ages) - 2, -1, -1):
        late = ages[n + 1 :] * (ended[n + 1 :] - ended[n]) - (seconds[n + 1 :] - seconds[n])
        costs = price * (1.0 - ended[n]) + late + value[n + 1 :]
        best = int(np.argmin(costs))
        value[n], following[n] = costs[best], n + 1 + best
    chosen, n = [], 0
    while n < len(ages) - 1:
        n = int(following[n])
        chosen.append(float(ages[n]))
    return chosen
