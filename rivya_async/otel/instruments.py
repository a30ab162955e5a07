"""What is measured, under which names and in which units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import CallbackOptions, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Meter

REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds, as the semantic conventions ask for; the SDK's own bounds are made for milliseconds."""

LONG_BOUNDS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600)
"""Seconds that jobs and large files take."""


class Instruments:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.requests = meter.create_histogram(
            "http.client.request.duration", "s", "Requests", explicit_bucket_boundaries_advisory=REQUEST_BOUNDS
        )
        self.waits = meter.create_histogram(
            "rivya.wait.duration", "s", "Waits for jobs", explicit_bucket_boundaries_advisory=LONG_BOUNDS
        )
        self.downloads = meter.create_histogram(
            "rivya.download.duration", "s", "Downloads of files", explicit_bucket_boundaries_advisory=LONG_BOUNDS
        )
        self.downloaded = meter.create_counter("rivya.download.bytes", "By", "Bytes of files that were received")
        self.polls = meter.create_counter("rivya.polls", "{poll}", "Polls of waiting jobs")
        self.retries = meter.create_counter("rivya.retries", "{retry}", "Requests that were sent again")
        self.refusals = meter.create_counter("rivya.refusals", "{refusal}", "Requests that the service said no to")

    def observe(self, name: str, unit: str, description: str, read: Callable[[], float | None]) -> None:
        """A gauge of what `read` gives whenever metrics are collected; None or no finite number is nothing to tell."""

        def observed(_: CallbackOptions) -> Sequence[Observation]:
            value = read()
            return [] if value is None or not math.isfinite(value) else [Observation(value)]

        self._meter.create_observable_gauge(name, [observed], unit, description)
