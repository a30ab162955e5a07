"""Waiting for jobs: watches, the polls that feed them, and the waits that end by an end, an error or a deadline."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from .._core import assumed
from .._core.endpoints import retrieve_generation
from .._core.errors import DeadlineExceeded, DecodeError, NotFound, RivyaError, SessionClosed
from .._core.retry import delay_before, is_transient, retry_after_of
from .._core.schedule import next_delay
from .hooks import PollDetails, tell
from .waiters import GroupWaiter, SingleWaiter
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._core.policies import PollPolicy
    from .._core.records import Generation
    from .caller import Caller
    from .scheduler import Scheduler
    from .waiters import Waiter


class Poller:
    """Polls each watched job once, however many wait for it, with at most `max_polls` requests in flight."""

    def __init__(self, caller: Caller, scheduler: Scheduler, *, max_polls: int) -> None:
        self._caller = caller
        self._scheduler = scheduler
        self._max_polls = max_polls
        self._loop = asyncio.get_running_loop()
        self._watches: dict[str, Watch] = {}
        self._due: deque[Watch] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._submitted: dict[str, float] = {}
        self._closed = False

    def note_submitted(self, generation: Generation) -> None:
        """Remember for a moment that this job is new: its first poll can wait, and a 404 may be a lagging replica."""
        now = self._loop.time()
        self._submitted.pop(generation.id, None)  # the oldest stand first
        self._submitted[generation.id] = now
        while self._submitted:
            oldest = next(iter(self._submitted))
            if now - self._submitted[oldest] <= assumed.NOT_FOUND_GRACE:
                break
            del self._submitted[oldest]

    async def end_of(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> Generation:
        """The terminal record. Raises `DeadlineExceeded`, `SessionClosed`, or what a poll met that does not pass."""
        if last is not None and last.is_terminal:
            return last
        self._check_deadline(task_id, last, deadline)
        waiter = SingleWaiter(self._loop)
        watch = self._join(waiter, task_id, last, policy)
        entry = None if deadline is None else self._scheduler.at(deadline, waiter)
        try:
            ended = await waiter.end()
        finally:
            self._leave(waiter, watch)
            if entry is not None:
                self._scheduler.cancel(entry)
        if ended is None:
            raise _deadline_error([task_id], watch.last)
        return ended

    async def updates_of(
        self, task_id: str, last: Generation | None, policy: PollPolicy, deadline: float | None
    ) -> AsyncGenerator[Generation]:
        """Every changed snapshot, the terminal one last. Raises as `end_of` does."""
        if last is not None and last.is_terminal:
            yield last
            return
        self._check_deadline(task_id, last, deadline)
        waiter = SingleWaiter(self._loop, listens=True)
        watch = self._join(waiter, task_id, last, policy)
        entry = None if deadline is None else self._scheduler.at(deadline, waiter)
        try:
            while (update := await waiter.update()) is not None:
                yield update
            ended = await waiter.end()
        finally:
            self._leave(waiter, watch)
            if entry is not None:
                self._scheduler.cancel(entry)
        if ended is None:
            raise _deadline_error([task_id], watch.last)
        yield ended

    async def ends_of(
        self, jobs: dict[str, Generation | None], policy: PollPolicy, deadline: float | None
    ) -> AsyncGenerator[Generation]:
        """The terminal records in the order of their ends; errors of single jobs after all others have ended.

        Takes `jobs` over and empties it.
        """
        waiter = GroupWaiter(self._loop, set(jobs))
        entry = None
        waiter.expired = self._is_past(deadline)
        try:
            for task_id, last in jobs.items():
                if last is not None and last.is_terminal:
                    waiter.settle(last)
                elif not waiter.expired:
                    self._join(waiter, task_id, last, policy)
            jobs.clear()
            if deadline is not None and waiter.open_ids:
                entry = self._scheduler.at(deadline, waiter)
            while (ended := await waiter.next_end()) is not None:
                yield ended
        finally:
            for task_id in waiter.open_ids:
                if task_id in self._watches:
                    self._leave(waiter, self._watches[task_id])
            if entry is not None:
                self._scheduler.cancel(entry)
        waiter.raise_errors(_deadline_error(sorted(waiter.open_ids), None) if waiter.open_ids else None)

    def poll_soon(self, watch: Watch) -> None:
        """Poll as soon as there is room."""
        self._due.append(watch)
        if len(self._workers) < self._max_polls:
            self._add_worker()

    async def aclose(self) -> None:
        """Release every wait with `SessionClosed` and stop polling."""
        self._closed = True
        for watch in list(self._watches.values()):
            self._end(watch, _closed_error(watch.task_id, watch.last))
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def _is_past(self, deadline: float | None) -> bool:
        return deadline is not None and self._loop.time() >= deadline

    def _check_deadline(self, task_id: str, last: Generation | None, deadline: float | None) -> None:
        """Ask nothing of the service for a wait that is over before it begins."""
        if self._is_past(deadline):
            raise _deadline_error([task_id], last)

    # --- joining and leaving ------------------------------------------------------------------------------------------

    def _join(self, waiter: Waiter, task_id: str, last: Generation | None, policy: PollPolicy) -> Watch:
        if self._closed:
            raise _closed_error(task_id, last)
        watch = self._watches.get(task_id) or Watch(self, task_id, policy)
        if last is not None:
            watch.heard(last)
        if watch.last is not None and watch.last != last:
            waiter.progress(watch.last)
        if policy.cap < watch.policy.cap:
            self._hurry(watch, policy)
        watch.waiters.append(waiter)
        if task_id not in self._watches:  # last: where tasks are eager, the first poll goes out within this call
            self._begin(watch)
        return watch

    def _hurry(self, watch: Watch, policy: PollPolicy) -> None:
        """Of two paces, the keener one, and at once: unless the service needs a rest."""
        watch.policy = policy
        if watch.entry is None or watch.failures:
            return
        due = self._loop.time() + self._delay(watch)
        if due < watch.entry.due:
            self._scheduler.cancel(watch.entry)
            watch.entry = self._scheduler.at(due, watch)

    def _begin(self, watch: Watch) -> None:
        self._watches[watch.task_id] = watch
        submitted = self._submitted.get(watch.task_id)
        if submitted is None:  # it may have ended long ago
            watch.born = watch.grace_ends = self._loop.time()
            self.poll_soon(watch)
        else:
            watch.born, watch.grace_ends = submitted, submitted + assumed.NOT_FOUND_GRACE
            first = submitted + next_delay(watch.policy, 0, self._caller.ambient.uniform())
            watch.entry = self._scheduler.at(first, watch)

    def _leave(self, waiter: Waiter, watch: Watch) -> None:
        if waiter in watch.waiters:
            watch.waiters.remove(waiter)
            if not watch.waiters:
                self._forget(watch)

    def _forget(self, watch: Watch) -> None:
        if self._watches.get(watch.task_id) is watch:
            del self._watches[watch.task_id]
        if watch.entry is not None:
            self._scheduler.cancel(watch.entry)
            watch.entry = None
        if watch.poll_in_flight is not None:
            watch.poll_in_flight.cancel()

    def _end(self, watch: Watch, error: RivyaError) -> None:
        self._forget(watch)
        watch.fail(error)

    # --- polling ------------------------------------------------------------------------------------------------------

    def _add_worker(self) -> None:
        worker = self._loop.create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if self._due and not self._closed:  # it was cancelled with its poll: the others still wait for theirs
            self._add_worker()

    async def _work(self) -> None:
        worker = asyncio.current_task()
        while self._due:
            watch = self._due.popleft()
            if watch.waiters:
                watch.poll_in_flight = worker
                await self._poll(watch)

    async def _poll(self, watch: Watch) -> None:
        try:
            try:
                generation = await self._caller.poll(retrieve_generation(watch.task_id))
            finally:
                watch.poll_in_flight = None
        except RivyaError as error:
            self._missed(watch, error)
        except asyncio.CancelledError:
            self._poll_after(watch, watch.policy.floor)  # if it is still waited for, somebody else cancelled the poll
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must end the wait, and be seen
            message = f"polling {watch.task_id} failed unexpectedly"
            self._loop.call_exception_handler({"message": message, "exception": error})
            self._end(watch, RivyaError(f"{message}: {error!r}"))
        else:
            self._saw(watch, generation)

    def _saw(self, watch: Watch, generation: Generation) -> None:
        watch.polls += 1
        delay = None
        if generation.is_terminal:
            self._forget(watch)
        else:
            delay = self._delay(watch)
            self._poll_after(watch, delay)
        self._tell_poll(watch, generation.status, delay, None)
        watch.saw(generation)

    def _missed(self, watch: Watch, error: RivyaError) -> None:
        watch.polls += 1
        watch.failures += 1
        is_new_shape = isinstance(error, DecodeError) and error.is_json  # a gateway's page passes, however often
        watch.undecoded = watch.undecoded + 1 if is_new_shape else 0
        if not self._passes(watch, error):
            self._tell_poll(watch, None, None, error)
            error.add_note(f"while waiting for {watch.task_id}: the job itself goes on")
            self._end(watch, error)
            return
        u = self._caller.ambient.uniform()
        delay = delay_before(self._caller.retry, watch.failures - 1, u, retry_after_of(error))
        self._tell_poll(watch, None, max(watch.policy.floor, delay), error)
        self._poll_after(watch, max(watch.policy.floor, delay))

    def _passes(self, watch: Watch, error: RivyaError) -> bool:
        """Whether this fault of a poll may pass by polling on."""
        if is_transient(error):
            return True
        if isinstance(error, NotFound):
            return self._loop.time() < watch.grace_ends
        return isinstance(error, DecodeError) and watch.undecoded < self._caller.retry.max_attempts

    def _delay(self, watch: Watch) -> float:
        """Seconds to the next poll of an open job."""
        return next_delay(watch.policy, watch.polls, self._caller.ambient.uniform(), self._loop.time() - watch.born)

    def _poll_after(self, watch: Watch, delay: float) -> None:
        if watch.waiters:
            watch.entry = self._scheduler.at(self._loop.time() + delay, watch)

    def _tell_poll(self, watch: Watch, status: str | None, delay: float | None, error: RivyaError | None) -> None:
        if self._caller.hooks:
            details = PollDetails(watch.task_id, watch.polls, status, delay, error)
            tell(self._caller.hooks, "on_poll", details)


def _deadline_error(task_ids: list[str], last: Generation | None) -> DeadlineExceeded:
    first, *others = task_ids
    status = f"still {last.status!r}" if last is not None else "still open"
    what = f"{first} is {status}" if not others else f"{len(task_ids)} jobs are still open, {first} among them"
    error = DeadlineExceeded(
        f"{what}. The work goes on and stays paid: wait again with the same task id, here or in another process",
        task_id=first,
        last=last,
    )
    if others:
        error.add_note("open: " + " ".join(task_ids))
    return error


def _closed_error(task_id: str, last: Generation | None) -> SessionClosed:
    return SessionClosed(
        f"the session was closed while {task_id} was waited for. The job goes on: wait for it with another session",
        task_id=task_id,
        last=last,
    )
