"""The interface of the state that workers and their clients share, with the record of a dead letter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from .._jobs.transitions import JobState
from .record import JobRecord

RECORD_TTL: Final = 7 * 86_400.0
"""Seconds for which the record of an ended job is kept. Records of open jobs do not expire."""

MAX_DEAD_LETTERS: Final = 10_000
"""Maximum number of dead letters that are kept: the latest."""

HEARTBEAT_TTL: Final = 15.0
"""Seconds after its last heartbeat for which a worker counts as alive."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A message that no worker processes any more, with a `reason` in words, a `code`, and the job's key if known.

    `at` is the time in epoch seconds.
    """

    reason: str
    code: str
    at: float
    key: str | None = None
    task_id: str | None = None


class WorkerStore(Protocol):
    """The shared state: job records, dead letters, heartbeats and learned durations.

    Calls wait until the store is reachable. A cancelled call may have taken effect.
    """

    @property
    def record_ttl(self) -> float:
        """Seconds for which the record of an ended job is kept."""
        ...

    async def open(self) -> None:
        """Prepares the store; may be called again."""

    async def aclose(self) -> None:
        """Closes connections; may be called again."""

    async def read(self, keys: Sequence[str]) -> list[JobRecord | None]:
        """Reads the records of these keys; None for a missing one."""
        ...

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        """Atomically changes a record to `state` if it is in an expected one (None: no record), with other changes.

        Returns the record as it is afterwards: unchanged if another process was first.
        """
        ...

    async def increment_deliveries(self, key: str, by: int = 1) -> int:
        """Changes the delivery count of a job's message and returns it."""
        ...

    async def read_changes(self, since: float) -> tuple[float, Collection[str]]:
        """Returns the current time, by the store's clock, and the keys of records that changed since a time."""
        ...

    async def add_dead_letter(self, letter: DeadLetter) -> None:
        """Adds a dead letter."""

    async def list_dead_letters(self, limit: int) -> tuple[int, Sequence[DeadLetter]]:
        """Returns the number of dead letters, and the latest of them."""
        ...

    async def record_heartbeat(self, worker: str, facts: Mapping[str, Any]) -> int:
        """Records that a worker is alive, with facts about it, and returns the number of live workers."""
        ...

    async def list_workers(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the live workers, each with the facts of its last heartbeat."""
        ...

    async def remove_worker(self, worker: str) -> None:
        """Removes a worker that has stopped."""

    async def save_durations(self, dump: Mapping[str, Any]) -> None:
        """Saves the learned durations of jobs."""

    async def load_durations(self) -> Mapping[str, Any] | None:
        """Loads the durations that were saved last."""
        ...
