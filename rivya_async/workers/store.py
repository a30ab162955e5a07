"""What workers and those who order share: what became of each order, who works, and what was learned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from .record import JobRecord
from .states import JobState

RECORD_TTL: Final = 7 * 86_400.0
"""Seconds for which the record of an ended order is kept. That of an open one is kept until it ends."""

MAX_DEAD_LETTERS: Final = 10_000
"""Dead letters that are kept, the latest."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A message that nobody will carry any more: `reason` in words, `code` in one, and the key of the order if known.

    `at` is when, in seconds since the epoch.
    """

    reason: str
    code: str
    at: float
    key: str | None = None
    task_id: str | None = None


class WorkerStore(Protocol):
    """Where records are. All calls may wait until the store is reachable; cancelling one may leave it done."""

    @property
    def record_ttl(self) -> float:
        """Seconds for which the record of an ended order is kept."""
        ...

    async def open(self) -> None:
        """Get ready. May be called again."""

    async def aclose(self) -> None:
        """Let go of connections. May be called again."""

    async def read(self, keys: Sequence[str]) -> list[JobRecord | None]:
        """The records of these orders, None where there is none."""
        ...

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        """Bring a record from one of the expected states (None: there is no record) to another, with other changes.

        Returns the record as it then is: somebody else may have been faster, and nothing was changed.
        """
        ...

    async def increment_deliveries(self, key: str, by: int = 1) -> int:
        """How often the message of this order was delivered, with this time."""
        ...

    async def read_changes(self, moment: float) -> tuple[float, Collection[str]]:
        """The keys of records that were changed since a moment, and the moment of now; in the store's own clock."""
        ...

    async def add_dead_letter(self, letter: DeadLetter) -> None:
        """Keep a dead letter."""

    async def dead_letters(self, most: int) -> tuple[int, Sequence[DeadLetter]]:
        """How many there are, and the latest of them."""
        ...

    async def record_heartbeat(self, worker: str, facts: Mapping[str, Any]) -> int:
        """Say that a worker lives, and how it does; how many do."""
        ...

    async def list_workers(self) -> Mapping[str, Mapping[str, Any]]:
        """The workers that live, each with what it said last."""
        ...

    async def remove_worker(self, worker: str) -> None:
        """Say that a worker lives no more."""

    async def save_durations(self, dump: Mapping[str, Any]) -> None:
        """Keep what is known of how long jobs last."""

    async def load_durations(self) -> Mapping[str, Any] | None:
        """What was kept last."""
        ...


HEARTBEAT_TTL: Final = 15.0
"""Seconds after its last beat for which a worker counts as alive."""


def encode_states(expected: Iterable[JobState | None]) -> list[str]:
    """States as text; no record is `absent`."""
    return ["absent" if state is None else state.value for state in expected]
