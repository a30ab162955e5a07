"""A job with waiters: its last record, and the state of its polls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ..._core.errors import copy_error

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
"""The number of skipped polls from which on the next poll must not be skipped."""


class PollHandler(Protocol):
    """The poller of a tracked job."""

    def on_timer(self, job: TrackedJob) -> None:
        """Polls the job as soon as there is a slot, or skips the poll."""

    def start_poll(self, job: TrackedJob) -> bool:
        """Polls the job now, from a slot of the limiter; returns False if no waiter is left."""
        ...


class TrackedJob:
    """One job and its waiters. The job is polled once, however many wait for it.

    Only the methods of this class write its fields.
    """

    __slots__ = (
        "_poll_handler",
        "context",
        "failing_since",
        "failures",
        "grace_ends",
        "group",
        "ignores_estimate",
        "is_queued",
        "last",
        "last_error",
        "last_response",
        "needs_recheck",
        "next_deadline_poll",
        "next_due",
        "observed_age",
        "policy",
        "poll_in_flight",
        "polled_open_age",
        "polls",
        "skipped_polls",
        "submitted_at",
        "task_id",
        "timer",
        "waiters",
    )

    def __init__(
        self,
        poll_handler: PollHandler,
        task_id: str,
        policy: PollPolicy,
        submitted_at: float,
        *,
        group: str | None = None,
        not_found_grace: float = 0.0,
        ignores_estimate: bool = False,
    ) -> None:
        self._poll_handler = poll_handler
        self.task_id = task_id
        self.policy = policy
        self.submitted_at = submitted_at
        """When it was submitted, as far as this session knows, on the loop's clock."""
        self.grace_ends = submitted_at + not_found_grace
        """Until when a 404 is tolerated, on the loop's clock."""
        self.group: str | None = group
        """The group of jobs of similar duration; None if another session submitted it, so that its age is unknown."""
        self.ignores_estimate = ignores_estimate
        """True if its polls follow the non-adaptive schedule in any case."""
        self.observed_age = 0.0
        """The age up to which the duration estimator has counted it as open."""
        self.polled_open_age: float | None = None
        """The age at which a poll last saw it open."""
        self.next_due = 0.0
        """When the next poll is due, on the polls' clock."""
        self.next_deadline_poll = 0.0
        """From when on a deadline may add a poll, on the polls' clock."""
        self.last: Generation | None = None
        self.last_response: CachedPollResponse | None = None
        self.polls = 0
        self.skipped_polls = 0
        """Polls skipped since the last one because a webhook is expected; `NO_SKIP` if the next must not be skipped."""
        self.needs_recheck = False
        """True if it is polled again soon after the poll in flight, whose response may be outdated."""
        self.failures = 0
        """Polls that failed since the last one that was answered."""
        self.failing_since = 0.0
        """When the first of these failed, on the loop's clock."""
        self.last_error: RivyaError | None = None
        """The error of the last poll, if it failed."""
        self.waiters: list[Waiter] = []
        self.context: Context | None = None
        """The context in which hooks hear of its polls: that of the first waiter, if there are hooks."""
        self.is_queued = False
        """True if its poll waits for a slot, or has one and has not begun."""
        self.timer: TimerHandle | None = None
        self.poll_in_flight: asyncio.Task[None] | None = None

    def fire(self) -> None:
        """Called by the timer when the next poll is due."""
        self.timer = None
        self._poll_handler.on_timer(self)

    def wake(self) -> bool:
        """Called by the limiter when there is a slot for the poll."""
        return self._poll_handler.start_poll(self)

    # --- waiters and records ------------------------------------------------------------------------------------------

    def add_waiter(self, waiter: Waiter) -> None:
        """Adds a waiter; the job is polled as often as its most frequent policy asks for."""
        self.waiters.append(waiter)
        self._update_policy()

    def remove_waiter(self, waiter: Waiter) -> None:
        """Removes a waiter, if it is still there."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            self._update_policy()

    def set_context(self, context: Context | None) -> None:
        """Sets the context in which hooks hear of its polls."""
        self.context = context

    def apply_poll(self, generation: Generation) -> None:
        """Applies the record of a poll; notifies waiters if it changes something and is not older than the last."""
        self.failures = 0
        self.last_error = None
        if generation is self.last:
            return
        is_stale = self.last is not None and self.last.is_newer_than(generation) and not generation.is_terminal
        if generation != self.last and not is_stale:
            self._apply(generation)

    def apply_external(self, generation: Generation) -> None:
        """Applies the open record of a webhook or of a new waiter, if it is newer than the last."""
        if self.last is None or generation.is_newer_than(self.last):
            self._apply(generation)

    def fail_waiters(self, error: RivyaError) -> None:
        """Ends every wait with a copy of the error."""
        self._notify_waiters(lambda waiter: waiter.on_error(self.task_id, copy_error(error)))

    # --- polls --------------------------------------------------------------------------------------------------------

    def set_timer(self, due: float, timer: TimerHandle) -> None:
        """Sets the timer of the next poll."""
        self.next_due = due
        self.timer = timer

    def clear_timer(self) -> TimerHandle | None:
        """Removes and returns the timer of the next poll."""
        timer, self.timer = self.timer, None
        return timer

    def postpone(self, due: float) -> None:
        """Sets when the next poll is due, without a timer."""
        self.next_due = due

    def set_queued(self, *, queued: bool) -> None:
        """Marks the poll as waiting for a slot, or not."""
        self.is_queued = queued

    def require_poll(self) -> None:
        """Forbids to skip the next poll."""
        self.skipped_polls = NO_SKIP

    def skip_poll(self) -> None:
        """Counts a poll that is skipped because a webhook is expected."""
        self.skipped_polls += 1

    def require_recheck(self) -> None:
        """Asks for another poll soon after the one in flight, if there is one."""
        self.needs_recheck = self.poll_in_flight is not None

    def take_deadline_poll(self, now: float) -> bool:
        """Returns whether a deadline may add a poll now: once in `policy.cap` seconds."""
        if now < self.next_deadline_poll:
            return False
        self.next_deadline_poll = now + self.policy.cap
        return True

    def begin_poll(self, worker: asyncio.Task[None] | None) -> bool:
        """Begins a poll; returns whether it was due, and not added by a deadline or a webhook."""
        was_due, self.skipped_polls, self.needs_recheck = self.skipped_polls < NO_SKIP, 0, False
        self.poll_in_flight = worker
        return was_due

    def end_poll(self) -> None:
        """Ends the poll in flight."""
        self.poll_in_flight = None

    def count_response(self, response: CachedPollResponse) -> None:
        """Counts a poll that was answered."""
        self.polls += 1
        self.last_response = response

    def count_failure(self, error: RivyaError, now: float) -> None:
        """Counts a poll that failed."""
        self.polls += 1
        if not self.failures:
            self.failing_since = now
        self.failures += 1
        self.last_error = copy_error(error)  # without its traceback, which holds frames

    @property
    def only_error(self) -> RivyaError | None:
        """The error of the last poll, if no poll has succeeded."""
        return self.last_error if self.last_response is None else None

    def advance_observed_age(self, age: float) -> float:
        """Sets the age up to which it was counted as open; returns the previous one."""
        previous, self.observed_age = self.observed_age, age
        return previous

    def set_polled_open_age(self, age: float) -> None:
        """Sets the age at which a poll saw it open."""
        self.polled_open_age = age

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

    def _notify_waiters(self, notify: Callable[[Waiter], None]) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            notify(waiter)


def _polling_frequency(policy: PollPolicy) -> tuple[float, ...]:
    return policy.cap, policy.base, policy.floor, policy.first
