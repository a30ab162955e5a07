"""Recognition of replays: responses that repeat the response to an earlier purchase under the same key."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .. import assumptions
from .messages import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..types.generations import Generation

REPLAY_MARGIN: Final = 2.0
"""Seconds by which a record must be older than its purchase: the header `Date` has no fractions of a second."""

MAX_CLOCK_DIFFERENCE: Final = 25.0
"""Seconds by which two clocks of a service may differ, as long as this session has not measured the difference."""

MAX_MEASURED_PURCHASE: Final = 10.0
"""Seconds above which a purchase took too long to measure the clocks by it."""

MEASURED_PURCHASES: Final = 20
"""Number of purchases that measure the clocks. Later, one in as many does, since parsing a date costs 10 us."""

TIME_ZONE_STEP: Final = 900.0
"""Seconds of which the differences between time zones are multiples."""

MAX_REPLAY_AGE: Final = 30 * 86400.0
"""Age in seconds above which the clocks of a response are considered wrong: no service keeps a key as long."""


class ReplayDetector:
    """Detector of replayed purchases, which measures the clocks of the service by purchases under new keys.

    Without a header that says so, a replay is an old job. The service sets the times of a record by one or two clocks,
    and its gateway sets the `Date` of the response by another.
    """

    def __init__(self) -> None:
        self._update_lag: float | None = None  # of `updated_at` and of `Date` behind `created_at`, in a new record
        self._date_lag: float | None = None
        self._purchases = 0

    def learn(self, generation: Generation, headers: Mapping[str, str], *, elapsed: float) -> None:
        """Measures the clocks by the response to a purchase that took `elapsed` seconds and bought a new job."""
        self._purchases += 1
        is_sample = self._purchases <= MEASURED_PURCHASES or self._purchases % MEASURED_PURCHASES == 0
        if not is_sample or generation.created_at is None or elapsed > MAX_MEASURED_PURCHASE:
            return
        updated, date = _ages(generation, headers)
        if updated is not None:
            self._update_lag = max(updated, self._update_lag or 0.0)
        if date is not None:
            self._date_lag = date if self._date_lag is None else max(date, self._date_lag)

    def is_replay(self, generation: Generation, headers: Mapping[str, str], *, elapsed: float, now: float) -> bool:
        """Returns True if the response to a purchase certainly repeats that of an earlier purchase under the same key.

        `elapsed` is the number of seconds since the purchase began, `now` is in seconds since the epoch by the local
        clock. A job is old by its own times, or by the `Date` of the response. Unless the difference of these clocks is
        measured, it must be older than clocks differ, the `Date` counts as far as it agrees with the local clock, and
        an age of about whole quarters of an hour is taken for a wrong time zone.
        """
        header = headers.get(assumptions.IDEMPOTENCY_REPLAY_HEADER, "").lower()
        if header in {"true", "false"} or generation.created_at is None:
            return header == "true"
        updated, date = _ages(generation, headers)
        doubt = 0.0 if date is None else abs(now - date - generation.created_at.timestamp())
        return _is_old(updated, self._update_lag, elapsed) or _is_old(date, self._date_lag, elapsed, doubt)


def _ages(generation: Generation, headers: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Returns the age of a record in seconds at its last update, and at the `Date` of its response."""
    created = 0.0 if generation.created_at is None else generation.created_at.timestamp()
    updated, date = generation.updated_at, parse_http_date(headers.get("Date"))
    return None if updated is None else updated.timestamp() - created, None if date is None else date - created


def _is_old(age: float | None, lag: float | None, elapsed: float, doubt: float = 0.0) -> bool:
    """Returns True if the job is older than the purchase, by clocks that differ by `lag`, or by an unknown time."""
    if age is None:
        return False
    if lag is not None:
        return elapsed + REPLAY_MARGIN < age - lag <= MAX_REPLAY_AGE
    margin = elapsed + MAX_CLOCK_DIFFERENCE
    is_zone = abs(math.remainder(age, TIME_ZONE_STEP)) <= min(margin, TIME_ZONE_STEP / 4)
    return not is_zone and margin < age - doubt <= MAX_REPLAY_AGE
