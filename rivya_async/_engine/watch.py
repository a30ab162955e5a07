"""One stream of polls: what is known of a job, and who wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .._core.errors import copied
from .._core.news import is_newer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

    from .._core.endpoints import Seen
    from .._core.errors import RivyaError
    from .._core.policies import PollPolicy
    from .._core.records import Generation
    from .scheduler import Entry
    from .waiters import Waiter


MUST_LOOK: Final = 1 << 16
"""So many polls left out mean that none may be."""


class Polling(Protocol):
    """Who polls for a watch."""

    def come_due(self, watch: Watch) -> None:
        """Poll as soon as there is room, or later if that will do."""

    def begin(self, watch: Watch) -> bool:
        """Poll now, from a place of the gate; False where nobody waits any more."""
        ...


class Watch:
    """A job that somebody waits for. However many wait, it is polled once."""

    __slots__ = (
        "_polling",
        "born",
        "context",
        "counted",
        "entry",
        "failures",
        "grace_ends",
        "group",
        "is_due",
        "last",
        "left_out",
        "next_due",
        "next_look",
        "policy",
        "poll_in_flight",
        "polls",
        "seen",
        "task_id",
        "undecoded",
        "waiters",
        "wants_look",
    )

    def __init__(self, polling: Polling, task_id: str, policy: PollPolicy, born: float) -> None:
        self._polling = polling
        self.task_id = task_id
        self.policy = policy
        self.born = self.grace_ends = born
        """When it was submitted, as far as we know, on the loop's clock; and until when a 404 may pass."""
        self.group: str | None = None
        """The jobs that last alike, if it is this session's own: then its age is known."""
        self.counted = 0.0
        """The age up to which the durations know that it was open."""
        self.next_due = 0.0
        """When its next poll is due, on the polls' clock."""
        self.next_look = 0.0
        """From when on a deadline may bring it a poll out of turn, on the same clock."""
        self.last: Generation | None = None
        self.seen: Seen | None = None
        """The answer to its last poll."""
        self.polls = 0
        self.left_out = 0
        """Polls since the last one that were left out because a delivery is expected; MUST_LOOK for a look at it."""
        self.wants_look = False
        """Whether it is to be polled again soon after the poll in flight, whose answer may be too old."""
        self.failures = 0
        self.undecoded = 0
        self.waiters: list[Waiter] = []
        self.context: Context | None = None
        """Where hooks hear of its polls: that of the first who waits, if there are any hooks."""
        self.is_due = False
        """Its poll waits for a place, or has one and has not begun."""
        self.entry: Entry | None = None
        self.poll_in_flight: asyncio.Task[None] | None = None

    def fire(self) -> None:
        """The next poll is due."""
        self.entry = None
        self._polling.come_due(self)

    def wake(self) -> bool:
        """There is a place for the poll."""
        return self._polling.begin(self)

    def join(self, waiter: Waiter) -> None:
        """Tell `waiter` of all that comes, and poll as often as the keenest waiter asks for."""
        self.waiters.append(waiter)
        self._agree()

    def leave(self, waiter: Waiter) -> None:
        """Tell it no more, if it was told at all."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            self._agree()

    def saw(self, generation: Generation) -> None:
        """Take in an answer; tell of it if it says something new and is not older than what is known."""
        self.failures = self.undecoded = 0
        if generation is self.last:
            return
        is_stale = self.last is not None and is_newer(self.last, generation) and not generation.is_terminal
        if generation != self.last and not is_stale:
            self._take(generation)

    def heard(self, generation: Generation) -> None:
        """Take in the open record that a new waiter brings along, if it is newer than what is known."""
        if self.last is None or is_newer(generation, self.last):
            self._take(generation)

    def fail(self, error: RivyaError) -> None:
        """End every wait with an error of its own."""
        self._tell_all(lambda waiter: waiter.fail(self.task_id, copied(error)))

    def _agree(self) -> None:
        if self.waiters:
            self.policy = min((waiter.policy for waiter in self.waiters), key=_keenness)

    def _take(self, generation: Generation) -> None:
        self.last = generation
        if generation.is_terminal:
            self._tell_all(lambda waiter: waiter.settle(generation))
            return
        for waiter in self.waiters:
            waiter.progress(generation)

    def _tell_all(self, tell: Callable[[Waiter], None]) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            tell(waiter)


def _keenness(policy: PollPolicy) -> tuple[float, ...]:
    return policy.cap, policy.base, policy.floor, policy.first
