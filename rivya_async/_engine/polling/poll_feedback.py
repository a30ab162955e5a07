"""Statistics of a session: the durations of jobs, and the reliability of webhooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..._core.polling.webhook_updates import delivery_delay

if TYPE_CHECKING:
    from ..._core.policies import PollPolicy
    from ..._core.polling.adaptive.duration_estimator import DurationEstimator
    from ..._core.polling.intervals import HazardCurve
    from ..._core.polling.webhook_updates import DeliveryRateEstimator
    from ..._core.types.generations import Generation
    from .tracked_job import TrackedJob


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
        if job.group is None or job.ignores_estimate or not job.policy.adaptive:
            return None
        return self._durations.curve_for(job.group)

    def begins_check(self, group: str, policy: PollPolicy) -> bool:
        """Returns True if the polls of a new job must not follow the estimate."""
        return policy.adaptive and self._durations.begins_check(group)

    def can_skip_poll(self, job: TrackedJob) -> bool:
        """Returns whether a due poll may be skipped, because a webhook will report the end.

        A job that has outlasted similar jobs is polled sooner.
        """
        if not self._delivery_rate.is_active or job.failures:
            return False
        curve = self.hazard_curve(job)
        is_late = curve is not None and curve.late_age <= self._age(job)
        return self._delivery_rate.may_skip_poll(job.skipped_polls, self._loop.time(), is_late=is_late)

    def on_open(self, job: TrackedJob, *, was_polled: bool = True) -> None:
        """Counts a job that a poll found open, or whose poll was skipped.

        Without the skipped polls the estimator would see only the jobs that end early.
        """
        if not job.policy.adaptive:
            return
        age = self._age(job)
        if was_polled:
            job.set_polled_open_age(age)
        if job.group is not None:
            self._durations.observe_open(job.group, age, job.advance_observed_age(age), was_polled=was_polled)

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
        if submitted is None:
            self._delivery_rate.on_late_delivery(end.id, self._loop.time())
            return
        submitted_at, group = submitted
        age = self._loop.time() - submitted_at
        self._delivery_rate.on_delivery(delivery_delay(end, age))
        self._durations.observe_end(group, (0.0, age), _reported_duration(end))

    def _observe_duration(self, job: TrackedJob, end: Generation) -> None:
        """Records the end of a job, by this session's clock.

        A job of another process counts from the begin of the wait, if a poll saw it open.
        """
        is_own = job.group is not None
        if job.policy.adaptive and (is_own or job.polled_open_age is not None):
            interval = (job.polled_open_age or 0.0, self._age(job))
            group = job.group or end.model or ""
            self._durations.observe_end(group, interval, _reported_duration(end), job.observed_age, is_own=is_own)

    def _delay_since_end(self, job: TrackedJob, end: Generation) -> float:
        """Returns the seconds since the end of the job; 0 if its age is unknown."""
        return 0.0 if job.group is None else delivery_delay(end, self._age(job))

    def _age(self, job: TrackedJob) -> float:
        return self._loop.time() - job.submitted_at


def _reported_duration(end: Generation) -> float | None:
    """Returns the duration in seconds by the server's clock."""
    return None if end.duration is None else end.duration.total_seconds()
