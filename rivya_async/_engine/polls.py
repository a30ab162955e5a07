"""The polls of a session: each watch's next one in its time, as the budget allows, and what comes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Final

from .._core.endpoints import poll_generation
from .._core.errors import DecodeError, NotFound, RivyaError
from .._core.retry import delay_before, is_transient, retry_after_of, slow_delay
from .._core.schedule import learned_delay, next_delay
from .._core.stretch import HORIZON, Stretch
from .hooks import PollDetails, tell
from .scheduler import Scheduler
from .watch import MUST_LOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.records import Generation
    from .caller import Caller
    from .experience import Experience
    from .gate import Gate
    from .watch import Watch

SLACK: Final = 0.02
MOST_SLACK: Final = 0.05
"""A poll may come earlier by this share of its interval, and by so many seconds at most, to go out along with another:
the loop wakes once for both. At 400 polls per second that saves a third of the CPU."""


class Polls:
    """Polls each watch once in its time, and sets its next time from what comes back.

    The polls have a clock of their own. It stands still while the gate is crowded with due ones, so that too many jobs
    are polled less often, all in proportion, and none starves; and when the service comes back after an outage, the
    polls go on in the rhythm in which it stopped them.
    """

    def __init__(self, caller: Caller, gate: Gate, experience: Experience, *, on_end: Callable[[Watch], None]) -> None:
        self._caller = caller
        self._gate = gate
        self._experience = experience
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._clock = Scheduler(self._loop)
        self._stretch = Stretch(self._loop.time())
        self._admitted: deque[Watch] = deque()
        self._returning = 0
        self.workers: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- when ---------------------------------------------------------------------------------------------------------

    def after(self, watch: Watch, delay: float) -> None:
        """Poll it in `delay` seconds of the polls' clock."""
        self._set(watch, self._clock.time() + delay)

    def resume(self, watch: Watch) -> None:
        """Poll it when its next poll was due when it came to rest: at once, if that time has passed."""
        if not watch.is_due:
            self._set(watch, watch.next_due)

    def hasten(self, watch: Watch, delay: float) -> None:
        """Poll it in `delay` seconds at the latest, unless the service needs a rest. No delivery spares that."""
        watch.left_out = MUST_LOOK
        due = self._clock.time() + delay
        if watch.entry is not None and not watch.failures and due < watch.next_due:
            self._clock.cancel(watch.entry)
            self._set(watch, due)

    def look_before(self, watch: Watch, deadline: float) -> None:
        """Poll it now if it would not be polled before `deadline` (on the loop's clock); no delivery spares that.

        Once in `policy.cap` seconds: short waits in a row keep the pace.
        """
        now = self._clock.time()
        watch.left_out = MUST_LOOK
        if watch.next_due + self._clock.lag >= deadline and now >= watch.next_look:
            watch.next_look = now + watch.policy.cap
            self.hasten(watch, 0.0)

    def rest(self, watch: Watch) -> None:
        """Poll it no more; what a poll in flight brings is kept for one who waits again."""
        if watch.entry is not None:
            self._clock.cancel(watch.entry)
            watch.entry = None

    def drop(self, watch: Watch) -> None:
        """Poll it no more; a poll in flight is cancelled, and who waits again does not repeat it at once."""
        self.rest(watch)
        if watch.poll_in_flight is not None:
            watch.poll_in_flight.cancel()
            watch.next_due = self._clock.time() + watch.policy.floor

    def usual_delay(self, watch: Watch) -> float:
        """Seconds to the next poll of an open job, on the polls' clock."""
        policy, age, u = watch.policy, self._loop.time() - watch.born, self._caller.ambient.uniform()
        due_so_far = watch.polls + watch.left_out
        curve = self._experience.curve_of(watch)
        if curve is None:
            delay = next_delay(policy, due_so_far, u, age)
            return delay if due_so_far else delay - age
        stretch = self._stretch.at(self._loop.time(), self._clock.lag)
        delay = learned_delay(curve, policy, due_so_far, u, age, stretch=stretch)
        return max(policy.floor, delay / stretch)

    def _set(self, watch: Watch, due: float) -> None:
        watch.next_due = due
        slack = min(MOST_SLACK, SLACK * max(0.0, due - self._clock.time()))
        watch.entry = self._clock.at(due, watch, slack)

    # --- ends that are told -------------------------------------------------------------------------------------------

    def told(self, watch: Watch, end: Generation) -> None:
        """A delivery has brought its end: every wait for it ends, and it is polled no more."""
        self._on_end(watch)
        watch.saw(end)
        self._experience.was_told(watch, end)

    def look_into(self, watch: Watch, end: Generation) -> None:
        """A delivery has told of its end, and is not to be trusted: poll it now."""
        self._experience.was_told_badly(watch, end)
        watch.wants_look = watch.poll_in_flight is not None
        self.hasten(watch, 0.0)

    # --- who ----------------------------------------------------------------------------------------------------------

    def come_due(self, watch: Watch) -> None:
        """Poll it as soon as there is a place, or leave that out if a delivery will tell of its end."""
        if self._experience.spares(watch):
            watch.left_out += 1
            self._experience.saw_open(watch)
            self.after(watch, self.usual_delay(watch))
        else:
            self.fall_due(watch)

    def fall_due(self, watch: Watch) -> None:
        """Poll it as soon as there is a place."""
        if watch.is_due or watch.poll_in_flight is not None:
            return
        watch.is_due = True
        self._gate.enter_poll(watch)
        if self._gate.is_crowded:
            self._clock.pause()

    def begin(self, watch: Watch) -> bool:
        """Poll it now, from a place that was taken; False where nobody waits for it any more."""
        if not self._gate.is_crowded and self._clock.resume() > HORIZON:
            self._stretch.forget(self._loop.time(), self._clock.lag)
        if not watch.waiters:
            watch.is_due = False
            return False
        self._admitted.append(watch)
        if len(self._admitted) > self._returning:
            self._add_worker()
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
            self._gate.leave()

    def _add_worker(self) -> None:
        worker = Context().run(self._loop.create_task, self._work())  # it works for all who wait: it is nobody's
        self.workers.add(worker)
        worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self.workers.discard(worker)
        if worker.cancelled() and self._admitted and not self._closed:  # its poll was: the others wait for theirs
            self._add_worker()

    async def _work(self) -> None:
        worker = asyncio.current_task()
        while self._admitted:
            watch = self._admitted.popleft()
            watch.is_due = False
            if not watch.waiters:
                self._give_back()
                continue
            watch.poll_in_flight = worker
            try:
                await self._poll(watch)
            except asyncio.CancelledError:
                self._next(watch, watch.policy.floor)  # if it is still waited for, somebody else cancelled the poll
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours must end the wait, and be seen
                message = f"polling {watch.task_id} failed unexpectedly"
                self._loop.call_exception_handler({"message": message, "exception": error})
                self._end(watch, RivyaError(f"{message}: {error!r}"))

    def _give_back(self) -> None:
        """Give the place to the next in line; if that is a poll, this worker will take it."""
        self._returning += 1
        self._gate.leave()
        self._returning -= 1

    # --- what ---------------------------------------------------------------------------------------------------------

    async def _poll(self, watch: Watch) -> None:
        was_due, watch.left_out, watch.wants_look = watch.left_out < MUST_LOOK, 0, False
        try:
            try:
                seen = await self._caller.send(poll_generation(watch.task_id, watch.seen), context=watch.context)
            finally:
                watch.poll_in_flight = None
                self._give_back()
        except RivyaError as error:
            self._missed(watch, error)
        else:
            watch.seen = seen
            self._saw(watch, seen.generation, was_due=was_due)

    def _saw(self, watch: Watch, generation: Generation, *, was_due: bool) -> None:
        watch.polls += 1
        delay = None
        if generation.is_terminal:
            self._experience.saw_end(watch, generation, was_due=was_due)
            self._on_end(watch)
        else:
            self._experience.saw_open(watch)
            delay = watch.policy.floor if watch.wants_look else self.usual_delay(watch)
            self._next(watch, delay)
        self._tell(watch, generation.status, delay, None)
        watch.saw(generation)

    def _missed(self, watch: Watch, error: RivyaError) -> None:
        watch.polls += 1
        watch.failures += 1
        is_new_shape = isinstance(error, DecodeError) and error.is_json  # a gateway's page passes, however often
        watch.undecoded = watch.undecoded + 1 if is_new_shape else 0
        if not self._passes(watch, error):
            self._tell(watch, None, None, error)
            error.add_note(f"while waiting for {watch.task_id}: the job itself goes on")
            self._end(watch, error)
            return
        delay = max(watch.policy.floor, self._retry_delay(watch, error))
        self._tell(watch, None, delay, error)
        self._next(watch, delay)

    def _retry_delay(self, watch: Watch, error: RivyaError) -> float:
        retry, u, now = self._caller.retry, self._caller.ambient.uniform(), self._loop.time()
        delay = delay_before(retry, watch.failures - 1, u, retry_after_of(error))
        if not self._gate.budget.has_retry(now):
            return max(delay, slow_delay(retry, u))
        self._gate.budget.take_retry(now)
        return delay

    def _passes(self, watch: Watch, error: RivyaError) -> bool:
        """Whether this fault of a poll may pass by polling on."""
        if is_transient(error):
            return True
        if isinstance(error, NotFound):
            return self._loop.time() < watch.grace_ends
        return isinstance(error, DecodeError) and watch.undecoded < self._caller.retry.max_attempts

    def _next(self, watch: Watch, delay: float) -> None:
        if watch.entry is not None or watch.is_due:
            return
        watch.next_due = self._clock.time() + delay
        if watch.waiters:
            self._set(watch, watch.next_due)

    def _end(self, watch: Watch, error: RivyaError) -> None:
        self._on_end(watch)
        watch.fail(error)

    def _tell(self, watch: Watch, status: str | None, delay: float | None, error: RivyaError | None) -> None:
        if self._caller.hooks:
            details = PollDetails(watch.task_id, watch.polls, status, delay, error)
            tell(self._caller.hooks, "on_poll", details, watch.context)
