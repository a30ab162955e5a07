"""Waiting for jobs: who waits for what, and how a wait ends: by an end, an error or a deadline."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

from ..._core import assumptions
from ..._core.errors import RivyaError
from ..._core.polling.webhook_updates import SnapshotChange, compare_snapshots
from ..hooks import WaitDetails, notify
from .poller import Poller
from .tracked_job import TrackedJob
from .wait_deadline import WaitDeadline
from .wait_errors import session_closed_error, wait_timeout_error
from .waiters import GroupWaiter, SingleWaiter

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
"""Open jobs of our own whose age is remembered until somebody waits for them."""

MAX_IDLE_JOBS: Final = 1000
"""Open jobs that nobody waits for just now whose pace is remembered, for one who waits again."""

MAX_WEBHOOK_RESULTS: Final = 5000
"""Ends brought by deliveries that are remembered, the latest: some 6 MB."""


class WaitRegistry:
    """Waits of any number for jobs of any number; each job is polled once, however many wait for it."""

    def __init__(
        self, caller: RequestExecutor, gate: RequestLimiter, scheduler: TimerQueue, experience: PollFeedback
    ) -> None:
        self._executor = caller
        self._timers = scheduler
        self._loop = asyncio.get_running_loop()
        self._feedback = experience
        self._poller = Poller(caller, gate, experience, on_end=self._discard)
        self._active: dict[str, TrackedJob] = {}
        self._idle: OrderedDict[str, TrackedJob] = OrderedDict()
        self._submitted: dict[str, tuple[float, str]] = {}  # when, and the jobs that last alike
        self._webhook_results: OrderedDict[str, Generation] = OrderedDict()
        self._closed = False

    def register_submitted(self, generation: Generation, group: str) -> None:
        """Remember when this job was submitted, and which jobs are taken to last alike.

        So its first poll can wait, and a 404 soon after may be a replica that lags behind.
        """
        self._submitted[generation.id] = (self._loop.time(), group)
        if len(self._submitted) > MAX_SUBMITTED_JOBS:
            del self._submitted[next(iter(self._submitted))]

    async def wait(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> Generation:
        """The terminal record.

        Raises `WaitTimeoutError`, `SessionClosedError`, or what a poll met that does not pass.
        """
        if (end := self.known_terminal(task_id, last)) is not None:
            return end
        self._check_deadline(task_id, last, deadline)
        waiter = SingleWaiter(self._loop, policy)
        watch = self._add_waiter(waiter, task_id, last)
        limit = None if deadline is None else WaitDeadline(deadline, self._timers, waiter, self._poller, watch)
        began = self._loop.time()
        try:
            ended = await waiter.wait_terminal()
            if ended is None:
                raise wait_timeout_error([task_id], watch.last)
        except RivyaError as error:
            self._notify_wait(watch, began, error)
            raise
        finally:
            self._remove_waiter(waiter, watch)
            if limit is not None:
                limit.cancel()
        self._notify_wait(watch, began)
        return ended

    async def watch(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> AsyncGenerator[Generation]:
        """Every changed snapshot, the terminal one last. Raises as `end_of` does."""
        if (end := self.known_terminal(task_id, last)) is not None:
            yield end
            return
        self._check_deadline(task_id, last, deadline)
        waiter = SingleWaiter(self._loop, policy, listens=True)
        watch = self._add_waiter(waiter, task_id, last)
        limit = None if deadline is None else WaitDeadline(deadline, self._timers, waiter, self._poller, watch)
        began = self._loop.time()
        try:
            while (update := await waiter.next_update()) is not None:
                yield update
            ended = await waiter.wait_terminal()
            if ended is None:
                raise wait_timeout_error([task_id], watch.last)
        except RivyaError as error:
            self._notify_wait(watch, began, error)
            raise
        finally:
            self._remove_waiter(waiter, watch)
            if limit is not None:
                limit.cancel()
        self._notify_wait(watch, began)
        yield ended

    async def as_completed(
        self, jobs: dict[str, Generation | None], policy: PollPolicy, deadline: float | None
    ) -> AsyncGenerator[Generation]:
        """The terminal records in the order of their ends; errors of single jobs after all others have ended.

        Takes `jobs` over and empties it.
        """
        waiter = GroupWaiter(self._loop, policy, set(jobs))
        entry = None
        began = self._loop.time()
        waiter.expired = self._is_past(deadline)
        try:
            told = self._add_group_waiter(waiter, jobs)
            jobs.clear()
            if deadline is not None and waiter.open_ids:
                entry = self._timers.call_at(deadline, waiter)
            while (ended := await waiter.next_terminal()) is not None:
                if ended.id in told:
                    self._notify_wait(told.pop(ended.id), began)
                yield ended
        finally:
            for task_id in waiter.open_ids:
                if task_id in self._active:
                    self._remove_waiter(waiter, self._active[task_id])
            if entry is not None:
                self._timers.cancel(entry)
        late = wait_timeout_error(sorted(waiter.open_ids), None) if waiter.open_ids else None
        for task_id, watch in told.items():
            self._notify_wait(watch, began, waiter.errors.get(task_id, late))
        waiter.raise_errors(late)

    def ingest_webhook(self, told: Generation) -> bool:
        """Take in a record that a delivery brought; whether it says anything new. It must be one to be trusted.

        An end settles all waits for the job, and is remembered for those that come later. One that does not fit is
        looked into by a poll.
        """
        if self._closed or told.id in self._webhook_results:
            return False
        watch = self._active.get(told.id) or self._idle.get(told.id)
        news = compare_snapshots(told, None if watch is None else watch.last)
        if news is SnapshotChange.END:
            self._accept_webhook_result(told, watch)
            return True
        if watch is None or news is SnapshotChange.NONE:
            return False
        if news is SnapshotChange.INCONSISTENT:
            self._poller.verify_webhook(watch, told)
            return False
        watch.apply_external(told)
        return True

    def known_terminal(self, task_id: str, last: Generation | None) -> Generation | None:
        """The terminal record, where there is no need to wait for it."""
        return last if last is not None and last.is_terminal else self._webhook_results.get(task_id)

    async def aclose(self) -> None:
        """Release every wait with `SessionClosedError` and stop polling."""
        self._closed = True
        for watch in list(self._active.values()):
            self._discard(watch)
            watch.fail_waiters(session_closed_error(watch.task_id, watch.last))
        self._idle.clear()
        await self._poller.aclose()

    # --- ends that are told -------------------------------------------------------------------------------------------

    def _accept_webhook_result(self, end: Generation, watch: TrackedJob | None) -> None:
        self._webhook_results[end.id] = end
        if len(self._webhook_results) > MAX_WEBHOOK_RESULTS:
            self._webhook_results.popitem(last=False)
        if watch is not None:
            self._poller.on_webhook_result(watch, end)
        else:
            self._feedback.on_unmatched_webhook(end, self._submitted.pop(end.id, None))

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def _is_past(self, deadline: float | None) -> bool:
        return deadline is not None and self._loop.time() >= deadline

    def _check_deadline(self, task_id: str, last: Generation | None, deadline: float | None) -> None:
        """Ask nothing of the service for a wait that is over before it begins."""
        if self._is_past(deadline):
            raise wait_timeout_error([task_id], last)

    # --- joining and leaving ------------------------------------------------------------------------------------------

    def _add_waiter(self, waiter: Waiter, task_id: str, last: Generation | None) -> TrackedJob:
        if self._closed:
            raise session_closed_error(task_id, last)
        watch = self._active.get(task_id) or self._idle.get(task_id) or self._new_job(task_id, waiter.policy)
        if last is not None:
            watch.apply_external(last)
        if watch.last is not None and watch.last != last:
            if watch.last.is_terminal:  # a poll saw it after the last waiter's deadline
                self._idle.pop(task_id, None)
                waiter.on_terminal(watch.last)
                return watch
            waiter.on_update(watch.last)
        pace = watch.policy
        watch.add_waiter(waiter)
        if task_id not in self._active:  # last: where tasks are eager, the first poll goes out within this call
            self._start_polling(watch)
        elif watch.policy is not pace:
            self._poller.advance_to(watch, self._poller.next_interval(watch))
        return watch

    def _add_group_waiter(self, waiter: GroupWaiter, jobs: dict[str, Generation | None]) -> dict[str, TrackedJob]:
        """What there is to wait for, if hooks want to hear of it."""
        told = {}
        for task_id, last in jobs.items():
            if (end := self.known_terminal(task_id, last)) is not None:
                waiter.on_terminal(end)
            elif not waiter.expired:
                watch = self._add_waiter(waiter, task_id, last)
                if self._executor.hooks:
                    told[task_id] = watch
        return told

    def _new_job(self, task_id: str, policy: PollPolicy) -> TrackedJob:
        submitted = self._submitted.pop(task_id, None)
        if submitted is None:
            return TrackedJob(self._poller, task_id, policy, self._loop.time())
        at, group = submitted
        watch = TrackedJob(self._poller, task_id, policy, at)
        watch.group = group
        watch.grace_ends = at + assumptions.NOT_FOUND_GRACE
        return watch

    def _start_polling(self, watch: TrackedJob) -> None:
        self._active[watch.task_id] = watch
        if self._executor.hooks:
            watch.context = copy_context()
        if self._idle.pop(watch.task_id, None) is not None:
            self._poller.resume(watch)
        elif watch.group is None:  # somebody else's: it may have ended long ago
            self._poller.enqueue(watch)
        else:
            self._poller.schedule_in(watch, self._poller.next_interval(watch))

    def _remove_waiter(self, waiter: Waiter, watch: TrackedJob) -> None:
        watch.remove_waiter(waiter)
        if not watch.waiters and self._active.get(watch.task_id) is watch:
            del self._active[watch.task_id]
            (self._poller.pause if waiter.expired else self._poller.drop)(watch)
            watch.context = None
            self._idle[watch.task_id] = watch
            if len(self._idle) > MAX_IDLE_JOBS:
                self._idle.popitem(last=False)

    def _discard(self, watch: TrackedJob) -> None:
        if self._active.get(watch.task_id) is watch:
            del self._active[watch.task_id]
        self._poller.drop(watch)

    def _notify_wait(self, watch: TrackedJob, began: float, error: RivyaError | None = None) -> None:
        if self._executor.hooks:
            last = watch.last
            model, status = (None, None) if last is None else (last.model, last.status if error is None else None)
            elapsed = self._loop.time() - began
            notify(
                self._executor.hooks, "on_wait", WaitDetails(watch.task_id, model, status, elapsed, watch.polls, error)
            )
