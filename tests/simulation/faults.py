"""The faults of one seed: a list of values, so that a shrinker can remove one after the other."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

REQUEST_FAULTS: Final[Mapping[str, int]] = {
    "not sent": 4,
    "dropped before": 4,
    "dropped after": 6,
    "silent before": 1,
    "silent after": 2,
    "slow": 6,
    "slow response": 6,
    "duplicated": 3,
    "429": 3,
    "429 with Retry-After": 3,
    "429 page": 1,
    "4xx page": 4,
    "4xx page after": 3,
    "refused by a page": 1,
    "5xx": 4,
    "5xx after": 4,
    "503 disabled": 1,
    "408 or 425": 2,
    "redirect page": 1,
    "odd 2xx": 5,
    "truncated": 3,
    "unknown members": 2,
    "stale read": 3,
    "not found yet": 2,
}
"""Faults of one request, with their weights. "After" means that the service has acted before."""

DOWNLOAD_FAULTS: Final[Mapping[str, int]] = {
    "file broken off": 8,
    "file changed": 3,
    "file changed, If-Range ignored": 4,
    "file not sent": 2,
    "file link expired": 2,
    "file page": 2,
    "file 4xx or 5xx": 3,
}
"""Faults of one request of a file."""

WEBHOOK_FAULTS: Final[Mapping[str, int]] = {
    "webhook lost": 4,
    "webhook doubled": 3,
    "webhook late": 4,
    "webhook at once": 3,
    "webhook without links": 2,
    "webhook of an older state": 2,
}
"""Faults of the webhook of one job."""

STEP_FAULTS: Final[Mapping[str, int]] = {
    "cancel": 8,
    "death": 5,
    "close": 4,
    "cancel the close": 1,
    "pause": 2,
    "clock of the service": 2,
    "clock of a process": 1,
    "outage": 2,
    "store outage": 3,
    "store loss": 1,
    "second delivery": 3,
}
"""Faults at one callback of one process."""

KINDS: Final = {**REQUEST_FAULTS, **DOWNLOAD_FAULTS, **WEBHOOK_FAULTS, **STEP_FAULTS}


@attrs.frozen
class Fault:
    """A fault of the request, the download or the webhook with the number `at`, or at the callback with this number.

    `value` from [0, 1) chooses everything else: the status, the page, the length of a pause, the task to cancel.
    """

    kind: str
    at: int
    value: float


class FaultPlan:
    """The faults that a simulation meets, by their kind and number; `applied` are those that it has met."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        self.applied: list[Fault] = []
        self._requests = {fault.at: fault for fault in self.faults if fault.kind in REQUEST_FAULTS}
        self._downloads = {fault.at: fault for fault in self.faults if fault.kind in DOWNLOAD_FAULTS}
        self._webhooks = {fault.at: fault for fault in self.faults if fault.kind in WEBHOOK_FAULTS}

    def of_request(self, number: int) -> Fault | None:
        return self._requests.get(number)

    def of_download(self, number: int) -> Fault | None:
        return self._downloads.get(number)

    def of_webhook(self, number: int) -> Fault | None:
        return self._webhooks.get(number)

    @property
    def at_steps(self) -> Sequence[Fault]:
        return [fault for fault in self.faults if fault.kind in STEP_FAULTS]


def draw_faults(seed: int) -> list[Fault]:
    """Returns the faults of a seed: none, some, or a storm."""
    rng = random.Random(f"{seed}/faults")
    faults = []
    density = rng.choice([0.0, 0.05, 0.15, 0.15, 0.4, 0.8])
    kinds = list(REQUEST_FAULTS)
    if rng.random() < 0.4:  # few kinds, so that one mechanism is stressed
        kinds = rng.sample(kinds, rng.randint(1, 4))
    weights = [REQUEST_FAULTS[kind] for kind in kinds]
    last = rng.choice([20, 60, 150])
    for number in range(last):
        if rng.random() < density:
            (kind,) = rng.choices(kinds, weights)
            faults.append(Fault(kind, number, rng.random()))
    for number in range(20):
        for weighted in (DOWNLOAD_FAULTS, WEBHOOK_FAULTS):
            if rng.random() < density:
                (kind,) = rng.choices(list(weighted), list(weighted.values()))
                faults.append(Fault(kind, number, rng.random()))
    for _ in range(rng.choice([0, 1, 2, 3, 5, 10])):
        (kind,) = rng.choices(list(STEP_FAULTS), list(STEP_FAULTS.values()))
        step = int(2 ** rng.uniform(3.0, 13.0)) if rng.random() < 0.5 else rng.randint(1, 2_000)
        faults.append(Fault(kind, step, rng.random()))
    return faults
