"""One stream of polls: what is known of a job, and who wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .._core.errors import copied

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from .._core.errors import RivyaError
    from .._core.policies import PollPolicy
    from .._core.records import Generation
    from .scheduler import Entry
    from .waiters import Waiter


class Polls(Protocol):
    """Who polls for a watch."""

    def poll_soon(self, watch: Watch) -> None:
        """Poll as soon as there is room."""


class Watch:
    """A job that somebody waits for. However many wait, it is polled once."""

    __slots__ = (
        "_polls",
        "born",
        "entry",
        "failures",
        "grace_ends",
        "last",
        "policy",
        "poll_in_flight",
        "polls",
        "task_id",
        "undecoded",
        "waiters",
    )

    def __init__(self, polls: Polls, task_id: str, policy: PollPolicy) -> None:
        self._polls = polls
        self.task_id = task_id
        self.policy = policy
        self.born = 0.0
        self.grace_ends = 0.0
        self.last: Generation | None = None
        self.polls = 0
        self.failures = 0
        self.undecoded = 0
        self.waiters: list[Waiter] = []
        self.entry: Entry | None = None
        self.poll_in_flight: asyncio.Task[None] | None = None

    def fire(self) -> None:
        """The next poll is due."""
        self.entry = None
        self._polls.poll_soon(self)

    def saw(self, generation: Generation) -> None:
        """Take in an answer; tell of it if it says something new and is not older than what is known."""
        self.failures = self.undecoded = 0
        is_stale = self.last is not None and _is_newer(self.last, generation) and not generation.is_terminal
        if generation != self.last and not is_stale:
            self._take(generation)

    def heard(self, generation: Generation) -> None:
        """Take in the open record that a new waiter brings along, if it is newer than what is known."""
        if self.last is None or _is_newer(generation, self.last):
            self._take(generation)

    def fail(self, error: RivyaError) -> None:
        """End every wait with an error of its own."""
        self._tell_all(lambda waiter: waiter.fail(self.task_id, copied(error)))

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


def _is_newer(generation: Generation, other: Generation) -> bool:
    """By the server's clock; where it is silent, nothing is newer."""
    if generation.updated_at is None or other.updated_at is None:
        return False
    return generation.updated_at > other.updated_at
