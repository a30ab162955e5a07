"""A job with waiters: its last record, the state of its polls, and what its polls teach."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from ..._core.errors import ResponseDecodeError, copy_error
from ..._core.polling.webhook_updates import delivery_delay

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from ..._core.errors import RivyaError
    from ..._core.http.operations import CachedPollResponse
    from ..._core.policies import PollPolicy
    from ..._core.polling.adaptive.duration_estimator import DurationEstimator
    from ..._core.polling.intervals import HazardCurve
    from ..._core.polling.webhook_updates import DeliveryRateEstimator
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

    def __init__(
        self,
        poll_handler: PollHandler,
        task_id: str,
        policy: PollPolicy,
        submitted_at: float,
        *,
        group: str | None = None,
        not_found_grace: float = 0.0,
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
        self.observed_age = 0.0
        """The age up to which the duration estimator has counted it as open."""
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
        """Whether to poll again soon after the poll in flight, whose response may be outdated."""
        self.failures = 0
        self.decode_failures = 0
        self.waiters: list[Waiter] = []
        self.context: Context | None = None
        """The context in which hooks hear of its polls: that of the first waiter, if there are hooks."""
        self.is_queued = False
        """Whether its poll waits for a slot, or has one and has not begun."""
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
        self.failures = self.decode_failures = 0
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

    def count_failure(self, error: RivyaError) -> None:
        """Counts a poll that failed. A gateway's page, which is no JSON, does not count as a decode failure."""
        self.polls += 1
        self.failures += 1
        is_unknown_shape = isinstance(error, ResponseDecodeError) and error.is_json
        self.decode_failures = self.decode_failures + 1 if is_unknown_shape else 0

    def advance_observed_age(self, age: float) -> float:
        """Sets the age up to which it was counted as open; returns the previous one."""
        previous, self.observed_age = self.observed_age, age
        return previous

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


class PollFeedback:
    """Statistics that a session learns: the durations of jobs, and the reliability of webhooks.

    Durations are learned only for waits with an adaptive policy, since learning costs 3 microseconds per poll.
    """

    def __init__(self, durations: DurationEstimator, delivery_rate: DeliveryRateEstimator) -> None:
        self._durations = durations
        self._delivery_rate = delivery_rate
        self._loop = asyncio.get_running_loop()

    def hazard_curve(self, job: TrackedJob) -> HazardCurve | None:
        """Returns the curve that places the polls of an adaptive wait, once similar jobs have ended."""
        return self._durations.curve_for(job.group) if job.policy.adaptive and job.group is not None else None

    def can_skip_poll(self, job: TrackedJob) -> bool:
        """Returns whether a due poll may be skipped, because a webhook will report the end.

        A job that has outlasted similar jobs is polled sooner.
        """
        if not self._delivery_rate.is_active or job.failures:
            return False
        curve = self.hazard_curve(job)
        is_late = curve is not None and curve.late_age <= self._age(job)
        return self._delivery_rate.may_skip_poll(job.skipped_polls, self._loop.time(), is_late=is_late)

    def on_open(self, job: TrackedJob) -> None:
        """Counts a job that a poll found open, or whose poll was skipped.

        Without the skipped polls the estimator would see only the jobs that end early.
        """
        if job.policy.adaptive and job.group is not None:
            age = self._age(job)
            self._durations.observe_open(job.group, age, job.advance_observed_age(age))

    def on_end_polled(self, job: TrackedJob, end: Generation, *, was_due: bool) -> None:
        """Counts an end that a poll found. Only polls that were due say something about webhooks."""
        was_open_before = job.group is not None or job.polls > 1
        if self._delivery_rate.is_active and was_due and was_open_before:
            self._delivery_rate.on_end_polled(job.task_id, self._loop.time(), self._delay_since_end(job, end))
        self._observe_duration(job, end)

    def on_webhook_terminal(self, job: TrackedJob, end: Generation) -> None:
        """Counts an end that a webhook reported before any poll."""
        self.on_unusable_webhook(job, end)
        self._observe_duration(job, end)

    def on_unusable_webhook(self, job: TrackedJob, end: Generation) -> None:
        """Counts a webhook whose record contradicts the last one: it was delivered, but teaches no duration."""
        self._delivery_rate.on_delivery(self._delay_since_end(job, end))

    def on_unmatched_webhook(self, end: Generation, submitted: tuple[float, str] | None) -> None:
        """Counts the end of a job without waiters; `submitted` holds time and group of this session's own jobs."""
        group = end.model
        if submitted is None:
            self._delivery_rate.on_late_delivery(end.id, self._loop.time())
        else:
            submitted_at, group = submitted
            self._delivery_rate.on_delivery(delivery_delay(end, self._loop.time() - submitted_at))
        self._add_observation(group, end, 0.0)

    def _observe_duration(self, job: TrackedJob, end: Generation) -> None:
        if job.policy.adaptive:
            self._add_observation(job.group or end.model or "", end, job.observed_age)

    def _add_observation(self, group: str, end: Generation, observed_age: float) -> None:
        if end.duration is not None:
            self._durations.observe(group, end.duration.total_seconds(), observed_age)

    def _delay_since_end(self, job: TrackedJob, end: Generation) -> float:
        """Returns the seconds since the end of the job; 0 if its age is unknown."""
        return 0.0 if job.group is None else delivery_delay(end, self._age(job))

    def _age(self, job: TrackedJob) -> float:
        return self._loop.time() - job.submitted_at


def _polling_frequency(policy: PollPolicy) -> tuple[float, ...]:
    return policy.cap, policy.base, policy.floor, policy.first
