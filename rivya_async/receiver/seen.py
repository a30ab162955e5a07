"""Which events were handled: for so long, and never more than so many. It is told the time."""

from __future__ import annotations

from typing import Final

MOST: Final = 100_000
"""Event ids that are remembered, the latest ones: about 20 MB."""


class Seen:
    """Event ids, each for `window` seconds."""

    def __init__(self, window: float, most: int = MOST) -> None:
        self._window = window
        self._most = most
        self._times: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, event_id: str, now: float) -> None:
        """Remember it from now on; forget what is too old, or the oldest where there are too many."""
        self._times.pop(event_id, None)  # what comes again is the latest
        self._times[event_id] = now
        while len(self._times) > self._most or self._is_old(next(iter(self._times)), now):
            del self._times[next(iter(self._times))]

    def knows(self, event_id: str, now: float) -> bool:
        """Whether it was handled within the window."""
        return event_id in self._times and not self._is_old(event_id, now)

    def _is_old(self, event_id: str, now: float) -> bool:
        return now - self._times[event_id] > self._window
