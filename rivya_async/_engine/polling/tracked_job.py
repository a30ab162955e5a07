"""One stream of polls: what is known of a job, and who wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ..._core.errors import copy_error
from ..._core.polling.webhook_updates import is_newer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

    from ..._core.errors import RivyaError
    from ..._core.http.operations import CachedPollResponse
    from ..._core.policies import PollPolicy
    from ..._core.types.generations import Generation
    from ..timer_queue import TimerHandle
    from .waiters import Waiter


NO_SKIP: Final = 1 << 16
"""So many polls left out mean that none may be."""


class PollHandler(Protocol):
    """Who polls for a watch."""

    def on_timer(self, watch: TrackedJob) -> None:
        """Poll as soon as there is room, or later if that will do."""

    def start_poll(self, watch: TrackedJob) -> bool:
        """Poll now, from a place of the gate; False where nobody waits any more."""
        ...


class TrackedJob:
    """A job that somebody waits for. However many wait, it is polled once."""

    __slots__ = (
        "_poll_handler",
        "context",
        "decode_failures",
        "failures",
        "grace_ends",
        "group",
        "is_queued",
        "last",
        "last_response",
        "needs_recheck",
        "next_deadline_poll",
        "next_due",
        "observed_age",
        "policy",
        "poll_in_flight",
        "polls",
        "skipped_polls",
        "submitted_at",
        "task_id",
        "timer",
        "waiters",
    )

    def __init__(self, polling: PollHandler, task_id: str, policy: PollPolicy, born: float) -> None:
        self._poll_handler = polling
        self.task_id = task_id
        self.policy = policy
        self.submitted_at = self.grace_ends = born
        """When it was submitted, as far as we know, on the loop's clock; and until when a 404 may pass."""
        self.group: str | None = None
        """The jobs that last alike, if it is this session's own: then its age is known."""
        self.observed_age = 0.0
        """The age up to which the durations know that it was open."""
        self.next_due = 0.0
        """When its next poll is due, on the polls' clock."""
        self.next_deadline_poll = 0.0
        """From when on a deadline may bring it a poll out of turn, on the same clock."""
        self.last: Generation | None = None
        self.last_response: CachedPollResponse | None = None
        """The answer to its last poll."""
        self.polls = 0
        self.skipped_polls = 0
        """Polls since the last one that were left out because a delivery is expected; MUST_LOOK for a look at it."""
        self.needs_recheck = False
        """Whether it is to be polled again soon after the poll in flight, whose answer may be too old."""
        self.failures = 0
        self.decode_failures = 0
        self.waiters: list[Waiter] = []
        self.context: Context | None = None
        """Where hooks hear of its polls: that of the first who waits, if there are any hooks."""
        self.is_queued = False
        """Its poll waits for a place, or has one and has not begun."""
        self.timer: TimerHandle | None = None
        self.poll_in_flight: asyncio.Task[None] | None = None

    def fire(self) -> None:
        """The next poll is due."""
        self.timer = None
        self._poll_handler.on_timer(self)

    def wake(self) -> bool:
        """There is a place for the poll."""
        return self._poll_handler.start_poll(self)

    def add_waiter(self, waiter: Waiter) -> None:
        """Tell `waiter` of all that comes, and poll as often as the keenest waiter asks for."""
        self.waiters.append(waiter)
        self._update_policy()

    def remove_waiter(self, waiter: Waiter) -> None:
        """Tell it no more, if it was told at all."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            self._update_policy()

    def apply_poll(self, generation: Generation) -> None:
        """Take in an answer; tell of it if it says something new and is not older than what is known."""
        self.failures = self.decode_failures = 0
        if generation is self.last:
            return
        is_stale = self.last is not None and is_newer(self.last, generation) and not generation.is_terminal
        if generation != self.last and not is_stale:
            self._apply(generation)

    def apply_external(self, generation: Generation) -> None:
        """Take in the open record that a new waiter brings along, if it is newer than what is known."""
        if self.last is None or is_newer(generation, self.last):
            self._apply(generation)

    def fail_waiters(self, error: RivyaError) -> None:
        """End every wait with an error of its own."""
        self._notify_waiters(lambda waiter: waiter.on_error(self.task_id, copy_error(error)))

    def _update_policy(self) -> None:
        if self.waiters:
            self.policy = min((waiter.policy for waiter in self.waiters), key=_polling_frequency)

    def _apply(self, generation: Generation) -> None:
        self.last = generation
        if generation.is_terminal:
            self._notify_waiters(lambda waiter: waiter.on_terminal(generation))
            return
        for waiter in self.waiters:
            waiter.on_update(generation)

    def _notify_waiters(self, tell: Callable[[Waiter], None]) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            tell(waiter)


def _polling_frequency(policy: PollPolicy) -> tuple[float, ...]:
    return policy.cap, policy.base, policy.floor, policy.first
