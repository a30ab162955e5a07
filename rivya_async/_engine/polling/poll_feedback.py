"""What a session learns from the ends of its jobs: how long they last, and how far deliveries tell of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..._core.polling.webhook_updates import delivery_delay

if TYPE_CHECKING:
    from ..._core.polling.adaptive.duration_estimator import DurationEstimator
    from ..._core.polling.adaptive.hazard_curve import HazardCurve
    from ..._core.polling.webhook_updates import DeliveryRateEstimator
    from ..._core.types.generations import Generation
    from .tracked_job import TrackedJob


class PollFeedback:
    """Told of every answer to a poll and of every delivery; says where polls are to be placed, and which to leave out.

    The durations are for waits that go by them: to learn costs 3 us per poll.
    """

    def __init__(self, durations: DurationEstimator, deliveries: DeliveryRateEstimator) -> None:
        self._duration_estimator = durations
        self._delivery_rate = deliveries
        self._loop = asyncio.get_running_loop()

    def hazard_curve(self, watch: TrackedJob) -> HazardCurve | None:
        """Where its polls are to be placed, if it goes by that and jobs like it have been seen to end."""
        return (
            self._duration_estimator.curve_for(watch.group)
            if watch.policy.adaptive and watch.group is not None
            else None
        )

    def can_skip_poll(self, watch: TrackedJob) -> bool:
        """Whether a poll that is due may be left out, because a delivery will tell of the end.

        A job whose end should have been told of by now is looked at sooner.
        """
        if not self._delivery_rate.is_active or watch.failures:
            return False
        curve = self.hazard_curve(watch)
        is_late = curve is not None and curve.late_age <= self._age(watch)
        return self._delivery_rate.may_skip_poll(watch.skipped_polls, self._loop.time(), is_late=is_late)

    def on_open(self, watch: TrackedJob) -> None:
        """A poll found the job open, or was left out, as nobody has told that it is not.

        If those that are not polled did not count, the quick ones of many that begin at once would pass for all.
        """
        if watch.policy.adaptive and watch.group is not None:
            age = self._age(watch)
            self._duration_estimator.observe_open(watch.group, age, watch.observed_age)
            watch.observed_age = age

    def on_end_polled(self, watch: TrackedJob, end: Generation, *, was_due: bool) -> None:
        """A poll found that the job has ended. What was looked at out of turn says nothing of deliveries."""
        was_open_before = watch.group is not None or watch.polls > 1
        if self._delivery_rate.is_active and was_due and was_open_before:
            self._delivery_rate.on_end_polled(watch.task_id, self._loop.time(), self._delay_since_end(watch, end))
        self._observe_duration(watch, end)

    def on_webhook_terminal(self, watch: TrackedJob, end: Generation) -> None:
        """A delivery has told of the end, before any poll."""
        self.on_unusable_webhook(watch, end)
        self._observe_duration(watch, end)

    def on_unusable_webhook(self, watch: TrackedJob, end: Generation) -> None:
        """The same, by a record that cannot be used."""
        self._delivery_rate.on_delivery(self._delay_since_end(watch, end))

    def on_unmatched_webhook(self, end: Generation, submitted: tuple[float, str] | None) -> None:
        """A delivery has told of the end of a job that nobody waits for, be it ours or not."""
        group = end.model
        if submitted is None:
            self._delivery_rate.on_late_delivery(end.id, self._loop.time())
        else:
            at, group = submitted
            self._delivery_rate.on_delivery(delivery_delay(end, self._loop.time() - at))
        self._add_observation(group, end, 0.0)

    def _observe_duration(self, watch: TrackedJob, end: Generation) -> None:
        if watch.policy.adaptive:
            self._add_observation(watch.group or end.model or "", end, watch.observed_age)

    def _add_observation(self, group: str, end: Generation, counted: float) -> None:
        if end.duration is not None:
            self._duration_estimator.observe(group, end.duration.total_seconds(), counted)

    def _delay_since_end(self, watch: TrackedJob, end: Generation) -> float:
        """Seconds that have passed since its end; 0 where nobody knows."""
        return 0.0 if watch.group is None else delivery_delay(end, self._age(watch))

    def _age(self, watch: TrackedJob) -> float:
        return self._loop.time() - watch.submitted_at
