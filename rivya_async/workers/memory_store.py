"""The store of one process, for the in-memory broker and for tests."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from .._jobs.transitions import JobState
from .record import JobRecord
from .store import BEAT_LASTS, MOST_LETTERS, DeadLetter

MOST_ENDED: Final = 100_000
"""Ended orders that are remembered, the latest."""


class MemoryStore:
    """A store that ends with its process. What it promises, `RedisStore` promises beyond it."""

    def __init__(self) -> None:
        self._records: dict[str, JobRecord] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._changed: OrderedDict[str, float] = OrderedDict()
        self._changes = 0.0
        self._letters: deque[DeadLetter] = deque(maxlen=MOST_LETTERS)
        self._beats: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._durations: Mapping[str, Any] | None = None

    @property
    def kept(self) -> float:
        """As long as the process lives, the latest 100,000."""
        return math.inf

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do: what it knows stays until the process ends."""

    async def read(self, keys: Sequence[str]) -> list[JobRecord | None]:
        """See `Store.read`."""
        return [self._records.get(key) for key in keys]

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        """See `Store.advance`."""
        record = self._records.get(key)
        if (None if record is None else record.state) not in expected:
            return record or JobRecord(key=key)
        changed = (record or JobRecord(key=key)).changed({**changes, "state": state})
        self._records[key] = changed
        self._changes += 1
        self._changed[key] = self._changes
        self._changed.move_to_end(key)
        self._ended.pop(key, None)
        if changed.has_ended:
            self._forget_beyond(key)
        return changed

    async def count_delivery(self, key: str, by: int = 1) -> int:
        """See `Store.count_delivery`."""
        record = self._records.get(key) or JobRecord(key=key)
        self._records[key] = record.changed({"deliveries": record.deliveries + by})
        return record.deliveries + by

    async def changed_since(self, moment: float) -> tuple[float, Collection[str]]:
        """See `Store.changed_since`."""
        found = []
        for key, changed in reversed(self._changed.items()):
            if changed <= moment:
                break
            found.append(key)
        return self._changes, found

    async def bury(self, letter: DeadLetter) -> None:
        """See `Store.bury`."""
        self._letters.appendleft(letter)

    async def dead_letters(self, most: int) -> tuple[int, Sequence[DeadLetter]]:
        """See `Store.dead_letters`."""
        return len(self._letters), list(self._letters)[:most]

    async def beat(self, worker: str, facts: Mapping[str, Any]) -> int:
        """See `Store.beat`."""
        self._beats[worker] = (asyncio.get_running_loop().time(), facts)
        return len(await self.beats())

    async def beats(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Store.beats`."""
        oldest = asyncio.get_running_loop().time() - BEAT_LASTS
        return {worker: facts for worker, (at, facts) in self._beats.items() if at > oldest}

    async def leave(self, worker: str) -> None:
        """See `Store.leave`."""
        self._beats.pop(worker, None)

    async def save_durations(self, dump: Mapping[str, Any]) -> None:
        """See `Store.save_durations`."""
        self._durations = dump

    async def load_durations(self) -> Mapping[str, Any] | None:
        """See `Store.load_durations`."""
        return self._durations

    def _forget_beyond(self, key: str) -> None:
        self._ended[key] = None
        if len(self._ended) > MOST_ENDED:
            oldest, _ = self._ended.popitem(last=False)
            del self._records[oldest]
            self._changed.pop(oldest, None)
