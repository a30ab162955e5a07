"""What workers and those who order share: what became of each order, who works, and what was learned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from .._jobs.transitions import JobState
from .record import JobRecord

KEPT: Final = 7 * 86_400.0
"""Seconds for which the record of an ended order is kept. That of an open one is kept until it ends."""

MOST_LETTERS: Final = 10_000
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


class Store(Protocol):
    """Where records are. All calls may wait until the store is reachable; cancelling one may leave it done."""

    @property
    def kept(self) -> float:
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

    async def count_delivery(self, key: str, by: int = 1) -> int:
        """How often the message of this order was delivered, with this time."""
        ...

    async def changed_since(self, moment: float) -> tuple[float, Collection[str]]:
        """The keys of records that were changed since a moment, and the moment of now; in the store's own clock."""
        ...

    async def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter."""

    async def dead_letters(self, most: int) -> tuple[int, Sequence[DeadLetter]]:
        """How many there are, and the latest of them."""
        ...

    async def beat(self, worker: str, facts: Mapping[str, Any]) -> int:
        """Say that a worker lives, and how it does; how many do."""
        ...

    async def beats(self) -> Mapping[str, Mapping[str, Any]]:
        """The workers that live, each with what it said last."""
        ...

    async def leave(self, worker: str) -> None:
        """Say that a worker lives no more."""

    async def save_durations(self, dump: Mapping[str, Any]) -> None:
        """Keep what is known of how long jobs last."""

    async def load_durations(self) -> Mapping[str, Any] | None:
        """What was kept last."""
        ...


BEAT_LASTS: Final = 15.0
"""Seconds after its last beat for which a worker counts as alive."""


def expected_names(expected: Iterable[JobState | None]) -> list[str]:
    """States as text; no record is `absent`."""
    return ["absent" if state is None else state.value for state in expected]
