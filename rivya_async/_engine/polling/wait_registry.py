"""The waits of a session: who waits for which job, and how each wait ends: with a record, an error or a deadline."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Final

from ..._core import assumptions
from ..._core.errors import RivyaError
from ..._core.limits.jobs_limit import PollCounts
from ..._core.polling.webhook_updates import SnapshotChange, compare_snapshots
from ..hooks import WaitDetails, notify
from .poller import Poller
from .tracked_job import TrackedJob
from .wait_deadline import JobWait, WaitDeadline
from .waiters import GroupWaiter, SingleWaiter, session_closed_error, wait_timeout_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..._core.policies import PollPolicy
    from ..._core.types.generations import Generation
    from ..http.request_executor import RequestExecutor
    from ..http.request_limiter import RequestLimiter
    from ..timer_queue import TimerQueue
    from .poll_feedback import PollFeedback
    from .waiters import Waiter

MAX_SUBMITTED_JOBS: Final = 20_000
"""Submitted jobs whose age is remembered until a wait for them begins."""

MAX_IDLE_JOBS: Final = 1000
"""Open jobs without waiters whose poll schedule is remembered."""

MAX_WEBHOOK_RESULTS: Final = 5000
"""Terminal records of webhooks that are remembered, about 6 MB. The oldest is dropped first."""


MAX_FINAL_POLLS: Final = 100
"""Maximum number of jobs of a group wait that are polled a last time."""


class WaitRegistry:
    """All waits of a session. Each job is polled once, however many wait for it."""

    def __init__(
        self, executor: RequestExecutor, limiter: RequestLimiter, timers: TimerQueue, feedback: PollFeedback
    ) -> None:
        self._executor = executor
        self.timers = timers
        self.loop = asyncio.get_running_loop()
        self._feedback = feedback
        self._poller = Poller(executor, limiter, feedback, on_end=self._discard)
        self._active: dict[str, TrackedJob] = {}
        self._idle: OrderedDict[str, TrackedJob] = OrderedDict()
        self._submitted: dict[str, tuple[float, str]] = {}  # time of the submit, and duration group
        self._webhook_results: OrderedDict[str, Generation] = OrderedDict()
        self._closed = False

    def register_submitted(self, generation: Generation, group: str) -> None:
        """Remembers when this job was submitted, and its duration group.

        Its first poll can then wait, and a 404 soon after the submit is tolerated.
        """
        self._submitted[generation.id] = (self.loop.time(), group)
        if len(self._submitted) > MAX_SUBMITTED_JOBS:
            del self._submitted[next(iter(self._submitted))]

    @property
    def poll_counts(self) -> PollCounts:
        """The numbers of polls that were answered with a record, and with a 429."""
        return PollCounts(self._poller.answered, self._poller.rejected)

    async def wait(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> Generation:
        """Returns the terminal record.

        Raises `WaitTimeoutError` at the deadline, `SessionClosedError`, or the error of a poll that is not transient.
        """
        if (end := self.known_terminal(task_id, last)) is not None:
            return end
        waiter = SingleWaiter(self.loop, policy)
        with self._begin_wait(waiter, task_id, last, deadline) as job:
            while not waiter.is_done:
                await waiter.wait_for_change()  # here: a coroutine of the waiter would cost a quarter of a KiB per job
            if (ended := waiter.take_outcome()) is None:
                raise wait_timeout_error([task_id], job.last, job.only_error)
        return ended

    async def watch(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> AsyncGenerator[Generation]:
        """Yields every changed snapshot, the terminal record last. Raises as `wait` does."""
        if (end := self.known_terminal(task_id, last)) is not None:
            yield end
            return
        waiter = SingleWaiter(self.loop, policy, listens=True)
        with self._begin_wait(waiter, task_id, last, deadline) as job:
            while (update := await waiter.next_update()) is not None:
                yield update
            if (ended := waiter.take_outcome()) is None:
                raise wait_timeout_error([task_id], job.last, job.only_error)
        yield ended

    async def as_completed(
        self, jobs: dict[str, Generation | None], policy: PollPolicy, deadline: float | None
    ) -> AsyncGenerator[Generation]:
        """Yields terminal records in the order of their ends; raises errors of single jobs after all others have ended.

        Empties `jobs`.
        """
        waiter = GroupWaiter(self.loop, policy, set(jobs))
        timer = None
        started = self.loop.time()
        waiter.expired = self._is_past(deadline)
        try:
            observed = self._add_group_waiter(waiter, jobs)
            jobs.clear()
            if deadline is not None and waiter.open_ids:
                timer = WaitDeadline(self, waiter, deadline)
            while (ended := await waiter.next_terminal()) is not None:
                if ended.id in observed:
                    self._notify_wait(observed.pop(ended.id), started)
                yield ended
        finally:
            poll_error = self._only_error(waiter.open_ids)
            for task_id in waiter.open_ids:
                if task_id in self._active:
                    self._remove_waiter(waiter, self._active[task_id])
            if timer is not None:
                timer.cancel()
        timeout_error = wait_timeout_error(sorted(waiter.open_ids), None, poll_error) if waiter.open_ids else None
        for task_id, job in observed.items():
            self._notify_wait(job, started, waiter.errors.get(task_id, timeout_error))
        waiter.raise_errors(timeout_error)

    def observe(self, task_id: str, observer: Waiter) -> None:
        """Polls a job for an observer, whose methods are called at its end, and reports no wait to the hooks."""
        if (end := self.known_terminal(task_id, None)) is not None:
            observer.on_terminal(end)
        else:
            self._add_waiter(observer, task_id, None)

    def stop_observing(self, task_id: str, observer: Waiter) -> None:
        """Ends `observe`; the response of a poll in flight is kept."""
        if task_id in self._active:
            self._remove_waiter(observer, self._active[task_id], keeps_poll=True)

    def ingest_webhook(self, generation: Generation) -> bool:
        """Applies the record of a verified webhook; returns whether it says anything new.

        A terminal record ends all waits for the job, and is remembered for later waits. One that contradicts
        the last one is verified by a poll.
        """
        if self._closed or generation.id in self._webhook_results:
            return False
        job = self._active.get(generation.id) or self._idle.get(generation.id)
        change = compare_snapshots(generation, None if job is None else job.last)
        if change is SnapshotChange.END:
            self._accept_webhook_result(generation, job)
            return True
        if job is None or change is SnapshotChange.NONE:
            return False
        if change is SnapshotChange.INCONSISTENT:
            self._poller.verify_webhook(job, generation)
            return False
        job.apply_external(generation)
        return True

    def known_terminal(self, task_id: str, last: Generation | None) -> Generation | None:
        """Returns the terminal record, if it is known already."""
        return last if last is not None and last.is_terminal else self._webhook_results.get(task_id)

    async def aclose(self) -> None:
        """Ends every wait with `SessionClosedError` and stops polling."""
        self._closed = True
        for job in list(self._active.values()):
            self._discard(job)
            job.fail_waiters(session_closed_error(job.task_id, job.last))
        self._idle.clear()
        await self._poller.aclose()

    def _accept_webhook_result(self, end: Generation, job: TrackedJob | None) -> None:
        self._webhook_results[end.id] = end
        if len(self._webhook_results) > MAX_WEBHOOK_RESULTS:
            self._webhook_results.popitem(last=False)
        if job is not None:
            self._poller.on_webhook_result(job, end)
        else:
            self._feedback.on_unmatched_webhook(end, self._submitted.pop(end.id, None))

    def _is_past(self, deadline: float | None) -> bool:
        return deadline is not None and self.loop.time() >= deadline

    def end_wait(self, waiter: Waiter, job: TrackedJob, started: float, error: BaseException | None) -> None:
        """Removes a waiter, and reports the end of its wait to the hooks; called by `JobWait`."""
        self._remove_waiter(waiter, job)
        if error is None or isinstance(error, RivyaError):
            self._notify_wait(job, started, error)

    def poll_last(self, waiter: Waiter, job: TrackedJob | None, deadline: float | None) -> None:
        """Polls a job, or some jobs of a group, before a deadline; at once without one. Called by `WaitDeadline`."""
        for each in self._last_polled(waiter, job):
            if deadline is None:
                self._poller.advance_to(each, 0.0)
            else:
                self._poller.poll_before_deadline(each, deadline)

    def is_polling(self, waiter: Waiter, job: TrackedJob | None) -> bool:
        """Returns whether a poll of `poll_last` has no answer yet."""
        return any(each.is_queued or each.poll_in_flight is not None for each in self._last_polled(waiter, job))

    def _last_polled(self, waiter: Waiter, job: TrackedJob | None) -> list[TrackedJob]:
        if job is not None or not isinstance(waiter, GroupWaiter):
            return [] if job is None else [job]
        return [
            self._active[task_id] for task_id in islice(waiter.open_ids, MAX_FINAL_POLLS) if task_id in self._active
        ]

    def _begin_wait(
        self, waiter: SingleWaiter, task_id: str, last: Generation | None, deadline: float | None
    ) -> JobWait:
        """Adds a waiter. Raises `WaitTimeoutError` before any request if the deadline has passed already."""
        if self._is_past(deadline):
            raise wait_timeout_error([task_id], last)
        return JobWait(self, waiter, self._add_waiter(waiter, task_id, last), deadline)

    def _only_error(self, task_ids: set[str]) -> RivyaError | None:
        """Returns the error of a last poll, if no poll of these jobs has succeeded."""
        errors = [self._active[task_id].only_error for task_id in task_ids if task_id in self._active]
        return errors[0] if errors and None not in errors else None

    # --- waiters ------------------------------------------------------------------------------------------------------

    def _add_waiter(self, waiter: Waiter, task_id: str, last: Generation | None) -> TrackedJob:
        if self._closed:
            raise session_closed_error(task_id, last)
        job = self._active.get(task_id) or self._idle.get(task_id) or self._new_job(task_id, waiter.policy)
        if last is not None:
            job.apply_external(last)
        if job.last is not None and job.last != last:
            if job.last.is_terminal:  # a poll found the end after the deadline of the previous waiter
                self._idle.pop(task_id, None)
                waiter.on_terminal(job.last)
                return job
            waiter.on_update(job.last)
        previous_policy = job.policy
        job.add_waiter(waiter)
        if task_id not in self._active:  # the last step: with eager tasks the first poll is sent within this call
            self._start_polling(job)
        elif job.policy is not previous_policy:
            self._poller.advance_to(job, self._poller.next_interval(job))
        return job

    def _add_group_waiter(self, waiter: GroupWaiter, jobs: dict[str, Generation | None]) -> dict[str, TrackedJob]:
        """Returns the jobs whose waits hooks will hear of."""
        observed = {}
        for task_id, last in jobs.items():
            if (end := self.known_terminal(task_id, last)) is not None:
                waiter.on_terminal(end)
            elif not waiter.expired:
                job = self._add_waiter(waiter, task_id, last)
                if self._executor.hooks:
                    observed[task_id] = job
        return observed

    def _new_job(self, task_id: str, policy: PollPolicy) -> TrackedJob:
        submitted = self._submitted.pop(task_id, None)
        if submitted is None:
            return TrackedJob(self._poller, task_id, policy, self.loop.time())
        submitted_at, group = submitted
        return TrackedJob(
            self._poller,
            task_id,
            policy,
            submitted_at,
            group=group,
            not_found_grace=assumptions.NOT_FOUND_GRACE,
            ignores_estimate=self._feedback.begins_check(group, policy),
        )

    def _start_polling(self, job: TrackedJob) -> None:
        self._active[job.task_id] = job
        if self._executor.hooks:
            job.set_context(copy_context())
        if self._idle.pop(job.task_id, None) is not None:
            self._poller.resume(job)
        elif job.group is None:  # submitted by another session: it may have ended long ago
            self._poller.enqueue(job)
        else:
            self._poller.schedule_in(job, self._poller.next_interval(job))

    def _remove_waiter(self, waiter: Waiter, job: TrackedJob, *, keeps_poll: bool = False) -> None:
        job.remove_waiter(waiter)
        if not job.waiters and self._active.get(job.task_id) is job:
            del self._active[job.task_id]
            (self._poller.pause if keeps_poll or waiter.expired else self._poller.drop)(job)
            job.set_context(None)
            self._idle[job.task_id] = job
            if len(self._idle) > MAX_IDLE_JOBS:
                self._idle.popitem(last=False)

    def _discard(self, job: TrackedJob) -> None:
        if self._active.get(job.task_id) is job:
            del self._active[job.task_id]
        self._poller.drop(job)

    def _notify_wait(self, job: TrackedJob, started: float, error: RivyaError | None = None) -> None:
        if self._executor.hooks:
            last = job.last
            model, status = (None, None) if last is None else (last.model, last.status if error is None else None)
            elapsed = self.loop.time() - started
            notify(self._executor.hooks, "on_wait", WaitDetails(job.task_id, model, status, elapsed, job.polls, error))
