"""What a session learns from the ends of its jobs: how long they last, and how far deliveries tell of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core.deliveries import late_by

if TYPE_CHECKING:
    from .._core.deliveries import Deliveries
    from .._core.durations import Durations
    from .._core.hazard import Curve
    from .._core.records import Generation
    from .watch import Watch


class Experience:
    """Told of every answer to a poll and of every delivery; says where polls are to be placed, and which to leave out.

    The durations are for waits that go by them: to learn costs 3 us per poll.
    """

    def __init__(self, durations: Durations, deliveries: Deliveries) -> None:
        self._durations = durations
        self._deliveries = deliveries
        self._loop = asyncio.get_running_loop()

    def curve_of(self, watch: Watch) -> Curve | None:
        """Where its polls are to be placed, if it goes by that and jobs like it have been seen to end."""
        return self._durations.curve_for(watch.group) if watch.policy.adaptive and watch.group is not None else None

    def spares(self, watch: Watch) -> bool:
        """Whether a poll that is due may be left out, because a delivery will tell of the end.

        A job whose end should have been told of by now is looked at sooner.
        """
        if not self._deliveries.is_on or watch.failures:
            return False
        curve = self.curve_of(watch)
        is_late = curve is not None and curve.late <= self._age_of(watch)
        return self._deliveries.may_leave_out(watch.left_out, self._loop.time(), is_late=is_late)

    def saw_open(self, watch: Watch) -> None:
        """A poll found the job open, or was left out, as nobody has told that it is not.

        If those that are not polled did not count, the quick ones of many that begin at once would pass for all.
        """
        if watch.policy.adaptive and watch.group is not None:
            age = self._age_of(watch)
            self._durations.still_open(watch.group, age, watch.counted)
            watch.counted = age

    def saw_end(self, watch: Watch, end: Generation, *, was_due: bool) -> None:
        """A poll found that the job has ended. What was looked at out of turn says nothing of deliveries."""
        was_open_before = watch.group is not None or watch.polls > 1
        if self._deliveries.is_on and was_due and was_open_before:
            self._deliveries.found(watch.task_id, self._loop.time(), self._lateness(watch, end))
        self._learn(watch, end)

    def was_told(self, watch: Watch, end: Generation) -> None:
        """A delivery has told of the end, before any poll."""
        self.was_told_badly(watch, end)
        self._learn(watch, end)

    def was_told_badly(self, watch: Watch, end: Generation) -> None:
        """The same, by a record that cannot be used."""
        self._deliveries.came(self._lateness(watch, end))

    def was_told_unasked(self, end: Generation, submitted: tuple[float, str] | None) -> None:
        """A delivery has told of the end of a job that nobody waits for, be it ours or not."""
        group = end.model
        if submitted is None:
            self._deliveries.followed(end.id, self._loop.time())
        else:
            at, group = submitted
            self._deliveries.came(late_by(end, self._loop.time() - at))
        self._observe(group, end, 0.0)

    def _learn(self, watch: Watch, end: Generation) -> None:
        if watch.policy.adaptive:
            self._observe(watch.group or end.model or "", end, watch.counted)

    def _observe(self, group: str, end: Generation, counted: float) -> None:
        if end.duration is not None:
            self._durations.observe(group, end.duration.total_seconds(), counted)

    def _lateness(self, watch: Watch, end: Generation) -> float:
        """Seconds that have passed since its end; 0 where nobody knows."""
        return 0.0 if watch.group is None else late_by(end, self._age_of(watch))

    def _age_of(self, watch: Watch) -> float:
        return self._loop.time() - watch.born
