"""Waiting for jobs: who waits for what, and how a wait ends: by an end, an error or a deadline."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

from .._core import assumed
from .._core.errors import RivyaError
from .._core.news import News, news_in
from .deadline import Deadline
from .hooks import WaitDetails, tell
from .polls import Polls
from .wait_errors import closed_error, deadline_error
from .waiters import GroupWaiter, SingleWaiter
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._core.policies import PollPolicy
    from .._core.records import Generation
    from .caller import Caller
    from .experience import Experience
    from .gate import Gate
    from .scheduler import Scheduler
    from .waiters import Waiter

MOST_SUBMITTED: Final = 20_000
"""Open jobs of our own whose age is remembered until somebody waits for them."""

MOST_RESTING: Final = 1000
"""Open jobs that nobody waits for just now whose pace is remembered, for one who waits again."""

MOST_TOLD: Final = 5000
"""Ends brought by deliveries that are remembered, the latest: some 6 MB."""


class Waits:
    """Waits of any number for jobs of any number; each job is polled once, however many wait for it."""

    def __init__(self, caller: Caller, gate: Gate, scheduler: Scheduler, experience: Experience) -> None:
        self._caller = caller
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._experience = experience
        self._polls = Polls(caller, gate, experience, on_end=self._forget)
        self._watches: dict[str, Watch] = {}
        self._resting: OrderedDict[str, Watch] = OrderedDict()
        self._submitted: dict[str, tuple[float, str]] = {}  # when, and the jobs that last alike
        self._told: OrderedDict[str, Generation] = OrderedDict()
        self._closed = False

    def note_submitted(self, generation: Generation, group: str) -> None:
        """Remember when this job was submitted, and which jobs are taken to last alike.

        So its first poll can wait, and a 404 soon after may be a replica that lags behind.
        """
        self._submitted[generation.id] = (self._loop.time(), group)
        if len(self._submitted) > MOST_SUBMITTED:
            del self._submitted[next(iter(self._submitted))]

    async def end_of(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> Generation:
        """The terminal record. Raises `DeadlineExceeded`, `SessionClosed`, or what a poll met that does not pass."""
        if (end := self.known_end(task_id, last)) is not None:
            return end
        self._check_deadline(task_id, last, deadline)
        waiter = SingleWaiter(self._loop, policy)
        watch = self._join(waiter, task_id, last)
        limit = None if deadline is None else Deadline(deadline, self._scheduler, waiter, self._polls, watch)
        began = self._loop.time()
        try:
            ended = await waiter.end()
            if ended is None:
                raise deadline_error([task_id], watch.last)
        except RivyaError as error:
            self._tell(watch, began, error)
            raise
        finally:
            self._leave(waiter, watch)
            if limit is not None:
                limit.cancel()
        self._tell(watch, began)
        return ended

    async def updates_of(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> AsyncGenerator[Generation]:
        """Every changed snapshot, the terminal one last. Raises as `end_of` does."""
        if (end := self.known_end(task_id, last)) is not None:
            yield end
            return
        self._check_deadline(task_id, last, deadline)
        waiter = SingleWaiter(self._loop, policy, listens=True)
        watch = self._join(waiter, task_id, last)
        limit = None if deadline is None else Deadline(deadline, self._scheduler, waiter, self._polls, watch)
        began = self._loop.time()
        try:
            while (update := await waiter.update()) is not None:
                yield update
            ended = await waiter.end()
            if ended is None:
                raise deadline_error([task_id], watch.last)
        except RivyaError as error:
            self._tell(watch, began, error)
            raise
        finally:
            self._leave(waiter, watch)
            if limit is not None:
                limit.cancel()
        self._tell(watch, began)
        yield ended

    async def ends_of(
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
            told = self._join_all(waiter, jobs)
            jobs.clear()
            if deadline is not None and waiter.open_ids:
                entry = self._scheduler.at(deadline, waiter)
            while (ended := await waiter.next_end()) is not None:
                if ended.id in told:
                    self._tell(told.pop(ended.id), began)
                yield ended
        finally:
            for task_id in waiter.open_ids:
                if task_id in self._watches:
                    self._leave(waiter, self._watches[task_id])
            if entry is not None:
                self._scheduler.cancel(entry)
        late = deadline_error(sorted(waiter.open_ids), None) if waiter.open_ids else None
        for task_id, watch in told.items():
            self._tell(watch, began, waiter.errors.get(task_id, late))
        waiter.raise_errors(late)

    def settle(self, told: Generation) -> bool:
        """Take in a record that a delivery brought; whether it says anything new. It must be one to be trusted.

        An end settles all waits for the job, and is remembered for those that come later. One that does not fit is
        looked into by a poll.
        """
        if self._closed or told.id in self._told:
            return False
        watch = self._watches.get(told.id) or self._resting.get(told.id)
        news = news_in(told, None if watch is None else watch.last)
        if news is News.END:
            self._take_end(told, watch)
            return True
        if watch is None or news is News.NONE:
            return False
        if news is News.DOUBT:
            self._polls.look_into(watch, told)
            return False
        watch.heard(told)
        return True

    def known_end(self, task_id: str, last: Generation | None) -> Generation | None:
        """The terminal record, where there is no need to wait for it."""
        return last if last is not None and last.is_terminal else self._told.get(task_id)

    async def aclose(self) -> None:
        """Release every wait with `SessionClosed` and stop polling."""
        self._closed = True
        for watch in list(self._watches.values()):
            self._forget(watch)
            watch.fail(closed_error(watch.task_id, watch.last))
        self._resting.clear()
        await self._polls.aclose()

    # --- ends that are told -------------------------------------------------------------------------------------------

    def _take_end(self, end: Generation, watch: Watch | None) -> None:
        self._told[end.id] = end
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        if watch is not None:
            self._polls.told(watch, end)
        else:
            self._experience.was_told_unasked(end, self._submitted.pop(end.id, None))

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def _is_past(self, deadline: float | None) -> bool:
        return deadline is not None and self._loop.time() >= deadline

    def _check_deadline(self, task_id: str, last: Generation | None, deadline: float | None) -> None:
        """Ask nothing of the service for a wait that is over before it begins."""
        if self._is_past(deadline):
            raise deadline_error([task_id], last)

    # --- joining and leaving ------------------------------------------------------------------------------------------

    def _join(self, waiter: Waiter, task_id: str, last: Generation | None) -> Watch:
        if self._closed:
            raise closed_error(task_id, last)
        watch = self._watches.get(task_id) or self._resting.get(task_id) or self._new_watch(task_id, waiter.policy)
        if last is not None:
            watch.heard(last)
        if watch.last is not None and watch.last != last:
            if watch.last.is_terminal:  # a poll saw it after the last waiter's deadline
                self._resting.pop(task_id, None)
                waiter.settle(watch.last)
                return watch
            waiter.progress(watch.last)
        pace = watch.policy
        watch.join(waiter)
        if task_id not in self._watches:  # last: where tasks are eager, the first poll goes out within this call
            self._begin(watch)
        elif watch.policy is not pace:
            self._polls.hasten(watch, self._polls.usual_delay(watch))
        return watch

    def _join_all(self, waiter: GroupWaiter, jobs: dict[str, Generation | None]) -> dict[str, Watch]:
        """What there is to wait for, if hooks want to hear of it."""
        told = {}
        for task_id, last in jobs.items():
            if (end := self.known_end(task_id, last)) is not None:
                waiter.settle(end)
            elif not waiter.expired:
                watch = self._join(waiter, task_id, last)
                if self._caller.hooks:
                    told[task_id] = watch
        return told

    def _new_watch(self, task_id: str, policy: PollPolicy) -> Watch:
        submitted = self._submitted.pop(task_id, None)
        if submitted is None:
            return Watch(self._polls, task_id, policy, self._loop.time())
        at, group = submitted
        watch = Watch(self._polls, task_id, policy, at)
        watch.group = group
        watch.grace_ends = at + assumed.NOT_FOUND_GRACE
        return watch

    def _begin(self, watch: Watch) -> None:
        self._watches[watch.task_id] = watch
        if self._caller.hooks:
            watch.context = copy_context()
        if self._resting.pop(watch.task_id, None) is not None:
            self._polls.resume(watch)
        elif watch.group is None:  # somebody else's: it may have ended long ago
            self._polls.fall_due(watch)
        else:
            self._polls.after(watch, self._polls.usual_delay(watch))

    def _leave(self, waiter: Waiter, watch: Watch) -> None:
        watch.leave(waiter)
        if not watch.waiters and self._watches.get(watch.task_id) is watch:
            del self._watches[watch.task_id]
            (self._polls.rest if waiter.expired else self._polls.drop)(watch)
            watch.context = None
            self._resting[watch.task_id] = watch
            if len(self._resting) > MOST_RESTING:
                self._resting.popitem(last=False)

    def _forget(self, watch: Watch) -> None:
        if self._watches.get(watch.task_id) is watch:
            del self._watches[watch.task_id]
        self._polls.drop(watch)

    def _tell(self, watch: Watch, began: float, error: RivyaError | None = None) -> None:
        if self._caller.hooks:
            last = watch.last
            model, status = (None, None) if last is None else (last.model, last.status if error is None else None)
            elapsed = self._loop.time() - began
            tell(self._caller.hooks, "on_wait", WaitDetails(watch.task_id, model, status, elapsed, watch.polls, error))
