"""The store within one process, for the in-memory broker and for tests."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import attrs

from .._jobs.transitions import JobState
from .store import HEARTBEAT_TTL, MAX_DEAD_LETTERS, DeadLetter, JobRecord

MAX_ENDED_RECORDS: Final = 100_000
"""Maximum number of ended records that are kept: the latest."""


class MemoryStore:
    """A store with the guarantees of `RedisStore`, as long as its process lives."""

    record_ttl = math.inf
    """Seconds for which the record of an ended job is kept."""

    def __init__(self) -> None:
        self._records: dict[str, JobRecord] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._changed_at: OrderedDict[str, float] = OrderedDict()
        self._change_count = 0.0
        self._dead_letters: deque[DeadLetter] = deque(maxlen=MAX_DEAD_LETTERS)
        self._heartbeats: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._observations: Mapping[str, Any] | None = None

    async def open(self) -> None:
        """See `WorkerStore.open`."""

    async def aclose(self) -> None:
        """See `WorkerStore.aclose`; the content stays."""

    async def read(self, keys: Sequence[str]) -> list[JobRecord | None]:
        return [self._records.get(key) for key in keys]

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        record = self._records.get(key)
        if (None if record is None else record.state) not in expected:
            return record or JobRecord(key=key)
        changed = attrs.evolve(record or JobRecord(key=key), **changes, state=state)
        self._records[key] = changed
        self._change_count += 1
        self._changed_at[key] = self._change_count
        self._changed_at.move_to_end(key)
        self._ended.pop(key, None)
        if changed.has_ended:
            self._ended[key] = None
            if len(self._ended) > MAX_ENDED_RECORDS:
                oldest, _ = self._ended.popitem(last=False)
                del self._records[oldest]
                self._changed_at.pop(oldest, None)
        return changed

    async def increment_deliveries(self, key: str, by: int = 1) -> int:
        record = self._records.get(key) or JobRecord(key=key)
        self._records[key] = attrs.evolve(record, deliveries=record.deliveries + by)
        return record.deliveries + by

    async def read_changes(self, since: float) -> tuple[float, Collection[str]]:
        found = []
        for key, changed in reversed(self._changed_at.items()):
            if changed <= since:
                break
            found.append(key)
        return self._change_count, found

    async def add_dead_letter(self, letter: DeadLetter) -> None:
        self._dead_letters.appendleft(letter)

    async def list_dead_letters(self, limit: int) -> tuple[int, Sequence[DeadLetter]]:
        return len(self._dead_letters), list(self._dead_letters)[:limit]

    async def record_heartbeat(self, worker: str, facts: Mapping[str, Any]) -> int:
        self._heartbeats[worker] = (asyncio.get_running_loop().time(), facts)
        return len(await self.list_workers())

    async def list_workers(self) -> Mapping[str, Mapping[str, Any]]:
        oldest = asyncio.get_running_loop().time() - HEARTBEAT_TTL
        return {worker: facts for worker, (at, facts) in self._heartbeats.items() if at > oldest}

    async def remove_worker(self, worker: str) -> None:
        self._heartbeats.pop(worker, None)

    async def save_observations(self, dump: Mapping[str, Any]) -> None:
        self._observations = dump

    async def load_observations(self) -> Mapping[str, Any] | None:
        return self._observations
