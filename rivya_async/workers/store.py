"""The interface of the state that workers and their clients share, with the record of a dead letter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol, Self

import attrs

from .._core.http.serialization import parse_json, structure
from .._jobs.transitions import JobState, error_fields
from .record import JobRecord

RECORD_TTL: Final = 7 * 86_400.0
"""Seconds for which the record of an ended job is kept. Records of open jobs do not expire."""

MAX_DEAD_LETTERS: Final = 10_000
"""Maximum number of dead letters that are kept: the latest."""

HEARTBEAT_TTL: Final = 15.0
"""Seconds after its last heartbeat for which a worker counts as alive."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A message that no worker processes any more, with a `reason` in words, and the job's key and task id if known.

    `error_type` is the name of an error's class, `error_code` the code that the service gave. `at` is the time in epoch
    seconds.
    """

    reason: str
    error_type: str
    at: float
    error_code: str | None = None
    key: str | None = None
    """Idempotency key of the job."""
    task_id: str | None = None
    """Task id of the job."""

    @classmethod
    def from_error(cls, error: Exception, at: float, *, key: str | None = None, task_id: str | None = None) -> Self:
        """Returns the letter for an error."""
        fields = error_fields(error)
        return cls(
            reason=fields["error"] or "",
            error_type=type(error).__name__,
            error_code=fields["error_code"],
            at=at,
            key=key,
            task_id=task_id,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns a stored letter. One that cannot be read says so."""
        try:
            members = parse_json(text.encode())
            known = {name: members.get(name) for name in attrs.fields_dict(cls)}
            letter: Self = structure(known, cls)
        except Exception as error:  # noqa: BLE001 - it may hold anything
            return cls(reason=f"this letter cannot be read: {type(error).__name__}", error_type="", at=0.0)
        return letter


class WorkerStore(Protocol):
    """The shared state: job records, dead letters, heartbeats, and learned durations and prices.

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

    async def save_observations(self, dump: Mapping[str, Any]) -> None:
        """Saves the learned durations and prices of jobs."""

    async def load_observations(self) -> Mapping[str, Any] | None:
        """Loads the durations and prices that were saved last."""
        ...
