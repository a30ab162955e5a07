"""Polls of a session: each tracked job at its time, as the rate allows, and what follows from each response."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Final

from ..._core.errors import NotFoundError, RateLimitError, RivyaError
from ..._core.http.operations import poll_generation
from ..._core.http.retry import (
    is_transient,
    poll_error_is_transient,
    retry_after_of,
    retry_delay,
    throttled_retry_delay,
)
from ..._core.polling.intervals import MEASUREMENT_WINDOW, PollSlowdown, adaptive_interval, backoff_interval
from ..hooks import PollDetails, notify
from ..timer_queue import TimerQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.types.generations import Generation
    from ..http.request_executor import RequestExecutor
    from ..http.request_limiter import RequestLimiter
    from .poll_feedback import PollFeedback
    from .tracked_job import TrackedJob

RELATIVE_TIMER_SLACK: Final = 0.02
"""The share of its interval by which a poll may come early, to go out together with another."""

MAX_TIMER_SLACK: Final = 0.05
"""Maximum seconds by which a poll may come early. At 400 polls per second the slack saves a third of the CPU."""


FAILURE_WARNING_DELAY: Final = 60.0
"""Seconds of nothing but failed polls of a job after which a warning is logged, and between two warnings."""

MAX_FOREIGN_RESPONSES: Final = 60.0
"""Seconds after which a wait ends if something that is not the API answers, and the API never has."""

_logger = logging.getLogger("rivya_async")


class Poller:
    """Polls each tracked job at its time, and sets its next time from the response.

    The polls have a clock of their own. It stands still while the poll queue of the limiter is full: too many jobs
    are then polled less often, all in proportion, and none starves. After an outage the polls continue in their rhythm.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        limiter: RequestLimiter,
        feedback: PollFeedback,
        *,
        on_end: Callable[[TrackedJob], None],
    ) -> None:
        self._executor = executor
        self._limiter = limiter
        self._feedback = feedback
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._clock = TimerQueue(self._loop)
        self._slowdown = PollSlowdown(self._loop.time())
        self._admitted: deque[TrackedJob] = deque()
        self._releasing = 0
        self.workers: set[asyncio.Task[None]] = set()
        self._closed = False
        self._next_warning = -math.inf
        self.answered = self.rejected = 0
        """Numbers of polls that were answered with a record, and with a 429."""

    # --- schedule -----------------------------------------------------------------------------------------------------

    def schedule_in(self, job: TrackedJob, delay: float) -> None:
        """Polls the job in `delay` seconds of the polls' clock."""
        self._schedule_at(job, self._clock.time() + delay)

    def resume(self, job: TrackedJob) -> None:
        """Polls a paused job when its next poll was due: at once, if that time has passed."""
        if not job.is_queued:
            self._schedule_at(job, job.next_due)

    def advance_to(self, job: TrackedJob, delay: float) -> None:
        """Polls the job in at most `delay` seconds, unless its last poll failed. The poll is not skipped."""
        job.require_poll()
        due = self._clock.time() + delay
        if job.timer is not None and not job.failures and due < job.next_due:
            self._clock.cancel(job.timer)
            self._schedule_at(job, due)

    def poll_before_deadline(self, job: TrackedJob, deadline: float) -> None:
        """Polls the job now if its next poll would come after `deadline` (on the loop's clock)."""
        job.require_poll()
        if job.next_due + self._clock.lag >= deadline and job.take_deadline_poll(self._clock.time()):
            self.advance_to(job, 0.0)

    def pause(self, job: TrackedJob) -> None:
        """Stops polling the job; the response of a poll in flight is kept for a later waiter."""
        timer = job.clear_timer()
        if timer is not None:
            self._clock.cancel(timer)

    def drop(self, job: TrackedJob) -> None:
        """Stops polling the job and cancels a poll in flight; a later waiter does not repeat it at once."""
        self.pause(job)
        if job.poll_in_flight is not None:
            job.poll_in_flight.cancel()
            job.postpone(self._clock.time() + job.policy.floor)

    def next_interval(self, job: TrackedJob) -> float:
        """Returns the seconds to the next poll of an open job, on the polls' clock."""
        policy, age, u = job.policy, self._loop.time() - job.submitted_at, self._executor.environment.uniform()
        polls = job.polls + job.skipped_polls
        curve = self._feedback.hazard_curve(job)
        if curve is None:
            delay = backoff_interval(policy, polls, u, age)
            return delay if polls else delay - age
        slowdown = self._slowdown.factor_at(self._loop.time(), self._clock.lag)
        delay = adaptive_interval(curve, policy, polls, u, age, slowdown=slowdown)
        return max(policy.floor, delay / slowdown)

    def _schedule_at(self, job: TrackedJob, due: float) -> None:
        slack = min(MAX_TIMER_SLACK, RELATIVE_TIMER_SLACK * max(0.0, due - self._clock.time()))
        job.set_timer(due, self._clock.call_at(due, job, slack))

    def _schedule_next(self, job: TrackedJob, delay: float) -> None:
        if job.timer is not None or job.is_queued:
            return
        job.postpone(self._clock.time() + delay)
        if job.waiters:
            self._schedule_at(job, job.next_due)

    # --- webhooks -----------------------------------------------------------------------------------------------------

    def on_webhook_result(self, job: TrackedJob, end: Generation) -> None:
        """Ends every wait for the job with the record of a webhook."""
        self._on_end(job)
        job.apply_poll(end)
        self._feedback.on_webhook_terminal(job, end)

    def verify_webhook(self, job: TrackedJob, end: Generation) -> None:
        """Polls the job now, because the record of a webhook contradicts the last one."""
        self._feedback.on_unusable_webhook(job, end)
        job.require_recheck()
        self.advance_to(job, 0.0)

    # --- slots and workers --------------------------------------------------------------------------------------------

    def on_timer(self, job: TrackedJob) -> None:
        """Polls the job as soon as there is a slot, or skips the poll if a webhook will report the end."""
        if self._feedback.can_skip_poll(job):
            job.skip_poll()
            self._feedback.on_open(job, was_polled=False)
            self.schedule_in(job, self.next_interval(job))
        else:
            self.enqueue(job)

    def enqueue(self, job: TrackedJob) -> None:
        """Polls the job as soon as there is a slot."""
        if job.is_queued or job.poll_in_flight is not None:
            return
        job.set_queued(queued=True)
        self._limiter.enqueue_poll(job)
        if self._limiter.is_poll_queue_full:
            self._clock.pause()

    def start_poll(self, job: TrackedJob) -> bool:
        """Polls the job now, from a slot of the limiter; returns False if no waiter is left."""
        if not self._limiter.is_poll_queue_full and self._clock.resume() > MEASUREMENT_WINDOW:
            self._slowdown.reset(self._loop.time(), self._clock.lag)
        if not job.waiters:
            job.set_queued(queued=False)
            return False
        self._admitted.append(job)
        if len(self._admitted) > self._releasing:
            self._start_worker()
        return True

    async def aclose(self) -> None:
        """Cancels polls in flight and releases their slots."""
        self._closed = True
        self._clock.close()
        workers = list(self.workers)
        for worker in workers:
            worker.cancel()
        try:
            await asyncio.gather(*workers, return_exceptions=True)
        finally:  # also if the close is cancelled
            while self._admitted:
                self._admitted.popleft()
                self._limiter.release()

    def _start_worker(self) -> None:
        worker = Context().run(self._loop.create_task, self._run_worker())  # an empty context: it polls for all waits
        self.workers.add(worker)
        worker.add_done_callback(self._on_worker_done)

    def _on_worker_done(self, worker: asyncio.Task[None]) -> None:
        self.workers.discard(worker)
        if worker.cancelled() and self._admitted and not self._closed:  # only the poll of one job was cancelled
            self._start_worker()

    async def _run_worker(self) -> None:
        worker = asyncio.current_task()
        while self._admitted:
            job = self._admitted.popleft()
            job.set_queued(queued=False)
            if not job.waiters:
                self._release_slot()
                continue
            try:
                await self._poll(job, job.begin_poll(worker))
            except asyncio.CancelledError:
                self._schedule_next(job, job.policy.floor)  # in case a waiter is left
                raise
            except Exception as error:  # noqa: BLE001 - a fault of the library must end the wait, and be reported
                message = f"polling {job.task_id} failed unexpectedly"
                self._loop.call_exception_handler({"message": message, "exception": error})
                self._end_with_error(job, RivyaError(f"{message}: {error!r}", task_id=job.task_id))

    def _release_slot(self) -> None:
        """Releases a slot; if the limiter gives it to another poll, this worker sends it."""
        self._releasing += 1
        self._limiter.release()
        self._releasing -= 1

    # --- responses ----------------------------------------------------------------------------------------------------

    async def _poll(self, job: TrackedJob, was_due: bool) -> None:  # noqa: FBT001 - the only caller computes it in place
        try:
            try:
                response = await self._executor.send_once(
                    poll_generation(job.task_id, job.last_response), context=job.context
                )
            finally:
                job.end_poll()
                self._release_slot()
        except RivyaError as error:
            self._on_error(job, error)
            return
        self.answered += 1
        job.count_response(response)
        generation, delay = response.generation, None
        if generation.is_terminal:
            self._feedback.on_end_polled(job, generation, was_due=was_due)
            self._on_end(job)
        else:
            self._feedback.on_open(job)
            delay = job.policy.floor if job.needs_recheck else self.next_interval(job)
            self._schedule_next(job, delay)
        if self._executor.hooks:
            self._notify_poll(job, generation.status, delay, None)
        job.apply_poll(generation)

    def _on_error(self, job: TrackedJob, error: RivyaError) -> None:
        error.task_id = job.task_id
        now = self._loop.time()
        job.count_failure(error, now)
        self.rejected += isinstance(error, RateLimitError)
        if self._ends_wait(job, error, now):
            self._notify_poll(job, None, None, error)
            self._end_with_error(job, error)
            return
        if now - job.failing_since >= FAILURE_WARNING_DELAY and now >= self._next_warning:
            self._next_warning = now + FAILURE_WARNING_DELAY
            _logger.warning("no poll of %s has succeeded for %.0f s: %s", job.task_id, now - job.failing_since, error)
        delay = max(job.policy.floor, self._retry_delay(job, error))
        self._notify_poll(job, None, delay, error)
        self._schedule_next(job, delay)

    def _retry_delay(self, job: TrackedJob, error: RivyaError) -> float:
        retry, u, now = self._executor.retry, self._executor.environment.uniform(), self._loop.time()
        delay = retry_delay(retry, job.failures - 1, u, retry_after_of(error))
        controller = self._limiter.rate_controller
        if not controller.has_retry_token(now):
            return max(delay, throttled_retry_delay(retry, u))
        controller.take_retry_token(now)
        return delay

    def _ends_wait(self, job: TrackedJob, error: RivyaError, now: float) -> bool:
        """Returns whether an error ends the wait; completes its message."""
        if not poll_error_is_transient(error):
            is_missing = isinstance(error, NotFoundError)
            if is_missing and now < job.grace_ends:
                return False
            error.add_note(f"while waiting for {job.task_id}" + ("" if is_missing else ": the job itself goes on"))
            return True
        has_reached_api = self._limiter.rate_controller.has_reached_api
        if is_transient(error) or has_reached_api or now - job.failing_since < MAX_FOREIGN_RESPONSES:
            return False
        error.message += (
            f" No answer came from the API for {now - job.failing_since:.0f} s. Check base_url, and whether the "
            f"network has a login page (captive portal). Then wait for {job.task_id} again"
        )
        return True

    def _end_with_error(self, job: TrackedJob, error: RivyaError) -> None:
        self._on_end(job)
        job.fail_waiters(error)

    def _notify_poll(self, job: TrackedJob, status: str | None, delay: float | None, error: RivyaError | None) -> None:
        if self._executor.hooks:
            details = PollDetails(job.task_id, job.polls, status, delay, error)
            notify(self._executor.hooks, "on_poll", details, job.context)
