"""Estimate of the number of jobs that the service runs at once for an account.

The limit is not documented. The service rejects purchases with a 429 while it accepts polls. Time, random numbers and
the numbers of open jobs and polls are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..http.retry import retry_delay

if TYPE_CHECKING:
    from ..policies import RetryPolicy


class PollCounts(NamedTuple):
    """Numbers of polls of a session that were answered with a record, and with a 429."""

    answered: int = 0
    rejected: int = 0


class JobsLimit:
    """Limit of running jobs, unknown until a purchase is rejected.

    1. As many jobs as are open at a rejection are assumed to be the limit.
    2. Jobs of other sessions count too, and the limit may be one of requests. So a purchase also probes it after each
       delay of the retry policy.
    3. The limit is confirmed once a poll was answered between two rejections. An unconfirmed limit is forgotten when
       a probe succeeds.
    4. Without open jobs there are only probes, as far as the retry policy permits them.
    """

    def __init__(self, retry: RetryPolicy) -> None:
        self.is_confirmed = False
        """True if the service rejects purchases for the number of running jobs."""
        self.next_probe = 0.0
        """When a purchase may be sent although the limit is reached."""
        self.rejections_without_jobs = 0
        """Number of rejections since the last open job or accepted purchase."""
        self._retry = retry
        self._limit: int | None = None
        self._rejections = 0
        self._rejected_at = 0.0
        self._first_rejection_without_jobs = 0.0
        self._polls_at_first = PollCounts()
        self._polls_at_last = PollCounts()

    @property
    def is_known(self) -> bool:
        """True from a rejection until the limit is forgotten."""
        return self._limit is not None

    def is_reached(self, running: int) -> bool:
        """Returns True if no further job may run beside so many."""
        return self._limit is not None and running >= self._limit

    def forget(self) -> None:
        """Forgets the limit."""
        self._limit = None
        self.is_confirmed = False
        self._rejections = self.rejections_without_jobs = 0

    def on_probe(self, now: float, u: float) -> None:
        """Records that a purchase is sent although the limit is reached."""
        self.next_probe = now + self._delay(None, u)

    def on_accepted(self, now: float, open_jobs: int, *, is_probe: bool) -> None:
        """Records an accepted purchase, which `open_jobs` does not include yet."""
        self.rejections_without_jobs = 0
        if self._limit is None:
            return
        if is_probe and not self.is_confirmed:
            self.forget()
            return
        self._limit = max(self._limit, open_jobs + 1)
        if is_probe:  # more may be accepted
            self._rejections, self.next_probe = 0, now

    def on_rejected(
        self, now: float, sent_at: float, *, open_jobs: int, polls: PollCounts, retry_after: float | None, u: float
    ) -> bool:
        """Records a rejected purchase; returns False if it was sent before the last rejection, and adds nothing."""
        is_first, self._limit = self._limit is None, open_jobs
        if is_first:
            self._polls_at_first = polls
        elif sent_at < self._rejected_at:
            return False
        elif polls.answered > self._polls_at_last.answered:
            self.is_confirmed = True
        self._rejections += 1
        self._rejected_at, self._polls_at_last = now, polls
        self.next_probe = now + self._delay(retry_after, u)
        if open_jobs:
            self.rejections_without_jobs = 0
            return True
        if not self.rejections_without_jobs:
            self._first_rejection_without_jobs = now
        self.rejections_without_jobs += 1
        return True

    def rejects_polls_too(self, polls: PollCounts) -> bool:
        """Returns True if the service has rejected polls since the first rejection, and answered none."""
        first, is_exhausted = self._polls_at_first, self._rejections >= self._retry.max_attempts
        has_only_rejected = polls.rejected > first.rejected and polls.answered == first.answered
        return is_exhausted and not self.is_confirmed and has_only_rejected

    def is_exhausted(
        self, retry: RetryPolicy, created_at: float, earlier_rejections: int, *, has_deadline: bool
    ) -> bool:
        """Returns True if the retry policy of a purchase permits no further probe while no job is open.

        `earlier_rejections` is `rejections_without_jobs` at `created_at`. A purchase with a deadline may wait: only the
        time counts for it, unless its policy permits a single attempt.
        """
        began = max(created_at, self._first_rejection_without_jobs)
        if self.next_probe - began > retry.max_elapsed or retry.max_attempts == 1:
            return True
        is_newer = created_at > self._first_rejection_without_jobs
        rejections = self.rejections_without_jobs - (earlier_rejections if is_newer else 0)
        return not has_deadline and rejections >= retry.max_attempts

    def _delay(self, retry_after: float | None, u: float) -> float:
        """Returns the seconds until the next probe. Equal jitter: a full one, or a `Retry-After` of 0, is too short."""
        delay = retry_delay(self._retry, max(self._rejections - 1, 0), 0.5 + u / 2)
        return delay if retry_after is None else max(delay, min(retry_after, self._retry.cap))
