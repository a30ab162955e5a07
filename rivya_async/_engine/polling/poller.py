"""The polls of a session: each watch's next one in its time, as the budget allows, and what comes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Final

from ..._core.errors import NotFoundError, ResponseDecodeError, RivyaError
from ..._core.http.operations import poll_generation
from ..._core.http.retry import is_transient, retry_after_of, retry_delay, throttled_retry_delay
from ..._core.polling.intervals import MEASUREMENT_WINDOW, PollSlowdown, adaptive_interval, backoff_interval
from ..hooks import PollDetails, notify
from ..timer_queue import TimerQueue
from .tracked_job import NO_SKIP

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.types.generations import Generation
    from ..http.request_executor import RequestExecutor
    from ..http.request_limiter import RequestLimiter
    from .poll_feedback import PollFeedback
    from .tracked_job import TrackedJob

RELATIVE_TIMER_SLACK: Final = 0.02
MAX_TIMER_SLACK: Final = 0.05
"""A poll may come earlier by this share of its interval, and by so many seconds at most, to go out along with another:
the loop wakes once for both. At 400 polls per second that saves a third of the CPU."""


class Poller:
    """Polls each watch once in its time, and sets its next time from what comes back.

    The polls have a clock of their own. It stands still while the gate is crowded with due ones, so that too many jobs
    are polled less often, all in proportion, and none starves; and when the service comes back after an outage, the
    polls go on in the rhythm in which it stopped them.
    """

    def __init__(
        self,
        caller: RequestExecutor,
        gate: RequestLimiter,
        experience: PollFeedback,
        *,
        on_end: Callable[[TrackedJob], None],
    ) -> None:
        self._executor = caller
        self._limiter = gate
        self._feedback = experience
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._clock = TimerQueue(self._loop)
        self._slowdown = PollSlowdown(self._loop.time())
        self._admitted: deque[TrackedJob] = deque()
        self._releasing = 0
        self.workers: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- when ---------------------------------------------------------------------------------------------------------

    def schedule_in(self, watch: TrackedJob, delay: float) -> None:
        """Poll it in `delay` seconds of the polls' clock."""
        self._schedule_at(watch, self._clock.time() + delay)

    def resume(self, watch: TrackedJob) -> None:
        """Poll it when its next poll was due when it came to rest: at once, if that time has passed."""
        if not watch.is_queued:
            self._schedule_at(watch, watch.next_due)

    def advance_to(self, watch: TrackedJob, delay: float) -> None:
        """Poll it in `delay` seconds at the latest, unless the service needs a rest. No delivery spares that."""
        watch.skipped_polls = NO_SKIP
        due = self._clock.time() + delay
        if watch.timer is not None and not watch.failures and due < watch.next_due:
            self._clock.cancel(watch.timer)
            self._schedule_at(watch, due)

    def poll_before_deadline(self, watch: TrackedJob, deadline: float) -> None:
        """Poll it now if it would not be polled before `deadline` (on the loop's clock); no delivery spares that.

        Once in `policy.cap` seconds: short waits in a row keep the pace.
        """
        now = self._clock.time()
        watch.skipped_polls = NO_SKIP
        if watch.next_due + self._clock.lag >= deadline and now >= watch.next_deadline_poll:
            watch.next_deadline_poll = now + watch.policy.cap
            self.advance_to(watch, 0.0)

    def pause(self, watch: TrackedJob) -> None:
        """Poll it no more; what a poll in flight brings is kept for one who waits again."""
        if watch.timer is not None:
            self._clock.cancel(watch.timer)
            watch.timer = None

    def drop(self, watch: TrackedJob) -> None:
        """Poll it no more; a poll in flight is cancelled, and who waits again does not repeat it at once."""
        self.pause(watch)
        if watch.poll_in_flight is not None:
            watch.poll_in_flight.cancel()
            watch.next_due = self._clock.time() + watch.policy.floor

    def next_interval(self, watch: TrackedJob) -> float:
        """Seconds to the next poll of an open job, on the polls' clock."""
        policy, age, u = watch.policy, self._loop.time() - watch.submitted_at, self._executor.environment.uniform()
        due_so_far = watch.polls + watch.skipped_polls
        curve = self._feedback.hazard_curve(watch)
        if curve is None:
            delay = backoff_interval(policy, due_so_far, u, age)
            return delay if due_so_far else delay - age
        stretch = self._slowdown.factor_at(self._loop.time(), self._clock.lag)
        delay = adaptive_interval(curve, policy, due_so_far, u, age, slowdown=stretch)
        return max(policy.floor, delay / stretch)

    def _schedule_at(self, watch: TrackedJob, due: float) -> None:
        watch.next_due = due
        slack = min(MAX_TIMER_SLACK, RELATIVE_TIMER_SLACK * max(0.0, due - self._clock.time()))
        watch.timer = self._clock.call_at(due, watch, slack)

    # --- ends that are told -------------------------------------------------------------------------------------------

    def on_webhook_result(self, watch: TrackedJob, end: Generation) -> None:
        """A delivery has brought its end: every wait for it ends, and it is polled no more."""
        self._on_end(watch)
        watch.apply_poll(end)
        self._feedback.on_webhook_terminal(watch, end)

    def verify_webhook(self, watch: TrackedJob, end: Generation) -> None:
        """A delivery has told of its end, and is not to be trusted: poll it now."""
        self._feedback.on_unusable_webhook(watch, end)
        watch.needs_recheck = watch.poll_in_flight is not None
        self.advance_to(watch, 0.0)

    # --- who ----------------------------------------------------------------------------------------------------------

    def on_timer(self, watch: TrackedJob) -> None:
        """Poll it as soon as there is a place, or leave that out if a delivery will tell of its end."""
        if self._feedback.can_skip_poll(watch):
            watch.skipped_polls += 1
            self._feedback.on_open(watch)
            self.schedule_in(watch, self.next_interval(watch))
        else:
            self.enqueue(watch)

    def enqueue(self, watch: TrackedJob) -> None:
        """Poll it as soon as there is a place."""
        if watch.is_queued or watch.poll_in_flight is not None:
            return
        watch.is_queued = True
        self._limiter.enqueue_poll(watch)
        if self._limiter.is_poll_queue_full:
            self._clock.pause()

    def start_poll(self, watch: TrackedJob) -> bool:
        """Poll it now, from a place that was taken; False where nobody waits for it any more."""
        if not self._limiter.is_poll_queue_full and self._clock.resume() > MEASUREMENT_WINDOW:
            self._slowdown.reset(self._loop.time(), self._clock.lag)
        if not watch.waiters:
            watch.is_queued = False
            return False
        self._admitted.append(watch)
        if len(self._admitted) > self._releasing:
            self._start_worker()
        return True

    async def aclose(self) -> None:
        """Stop polling."""
        self._closed = True
        self._clock.close()
        workers = list(self.workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        while self._admitted:
            self._admitted.popleft()
            self._limiter.release()

    def _start_worker(self) -> None:
        worker = Context().run(self._loop.create_task, self._run_worker())  # it works for all who wait: it is nobody's
        self.workers.add(worker)
        worker.add_done_callback(self._on_worker_done)

    def _on_worker_done(self, worker: asyncio.Task[None]) -> None:
        self.workers.discard(worker)
        if worker.cancelled() and self._admitted and not self._closed:  # its poll was: the others wait for theirs
            self._start_worker()

    async def _run_worker(self) -> None:
        worker = asyncio.current_task()
        while self._admitted:
            watch = self._admitted.popleft()
            watch.is_queued = False
            if not watch.waiters:
                self._release_slot()
                continue
            watch.poll_in_flight = worker
            try:
                await self._poll(watch)
            except asyncio.CancelledError:
                self._schedule_next(
                    watch, watch.policy.floor
                )  # if it is still waited for, somebody else cancelled the poll
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours must end the wait, and be seen
                message = f"polling {watch.task_id} failed unexpectedly"
                self._loop.call_exception_handler({"message": message, "exception": error})
                self._end_with_error(watch, RivyaError(f"{message}: {error!r}"))

    def _release_slot(self) -> None:
        """Give the place to the next in line; if that is a poll, this worker will take it."""
        self._releasing += 1
        self._limiter.release()
        self._releasing -= 1

    # --- what ---------------------------------------------------------------------------------------------------------

    async def _poll(self, watch: TrackedJob) -> None:
        was_due, watch.skipped_polls, watch.needs_recheck = watch.skipped_polls < NO_SKIP, 0, False
        try:
            try:
                seen = await self._executor.send_once(
                    poll_generation(watch.task_id, watch.last_response), context=watch.context
                )
            finally:
                watch.poll_in_flight = None
                self._release_slot()
        except RivyaError as error:
            self._on_error(watch, error)
        else:
            watch.last_response = seen
            self._on_success(watch, seen.generation, was_due=was_due)

    def _on_success(self, watch: TrackedJob, generation: Generation, *, was_due: bool) -> None:
        watch.polls += 1
        delay = None
        if generation.is_terminal:
            self._feedback.on_end_polled(watch, generation, was_due=was_due)
            self._on_end(watch)
        else:
            self._feedback.on_open(watch)
            delay = watch.policy.floor if watch.needs_recheck else self.next_interval(watch)
            self._schedule_next(watch, delay)
        self._notify_poll(watch, generation.status, delay, None)
        watch.apply_poll(generation)

    def _on_error(self, watch: TrackedJob, error: RivyaError) -> None:
        watch.polls += 1
        watch.failures += 1
        is_new_shape = (
            isinstance(error, ResponseDecodeError) and error.is_json
        )  # a gateway's page passes, however often
        watch.decode_failures = watch.decode_failures + 1 if is_new_shape else 0
        if not self._is_tolerable(watch, error):
            self._notify_poll(watch, None, None, error)
            error.add_note(f"while waiting for {watch.task_id}: the job itself goes on")
            self._end_with_error(watch, error)
            return
        delay = max(watch.policy.floor, self._retry_delay(watch, error))
        self._notify_poll(watch, None, delay, error)
        self._schedule_next(watch, delay)

    def _retry_delay(self, watch: TrackedJob, error: RivyaError) -> float:
        retry, u, now = self._executor.retry, self._executor.environment.uniform(), self._loop.time()
        delay = retry_delay(retry, watch.failures - 1, u, retry_after_of(error))
        if not self._limiter.rate_controller.has_retry_token(now):
            return max(delay, throttled_retry_delay(retry, u))
        self._limiter.rate_controller.take_retry_token(now)
        return delay

    def _is_tolerable(self, watch: TrackedJob, error: RivyaError) -> bool:
        """Whether this fault of a poll may pass by polling on."""
        if is_transient(error):
            return True
        if isinstance(error, NotFoundError):
            return self._loop.time() < watch.grace_ends
        return isinstance(error, ResponseDecodeError) and watch.decode_failures < self._executor.retry.max_attempts

    def _schedule_next(self, watch: TrackedJob, delay: float) -> None:
        if watch.timer is not None or watch.is_queued:
            return
        watch.next_due = self._clock.time() + delay
        if watch.waiters:
            self._schedule_at(watch, watch.next_due)

    def _end_with_error(self, watch: TrackedJob, error: RivyaError) -> None:
        self._on_end(watch)
        watch.fail_waiters(error)

    def _notify_poll(
        self, watch: TrackedJob, status: str | None, delay: float | None, error: RivyaError | None
    ) -> None:
        if self._executor.hooks:
            details = PollDetails(watch.task_id, watch.polls, status, delay, error)
            notify(self._executor.hooks, "on_poll", details, watch.context)
