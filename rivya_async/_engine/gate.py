"""Who may send, and when: one bound on what is in flight, one budget of requests per second, two lanes before both."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from .._core.budget import Budget
from .._core.errors import NotSent, NotSentInTime
from .scheduler import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from .scheduler import Entry, Scheduler

CALLS_PER_POLL: Final = 4
"""While both lanes wait, calls go first, and every fifth place is a poll's."""

MOST_WAITING: Final = 8
"""With so many polls in its lane a gate that keeps a budget is crowded."""


class Turn(Protocol):
    """Something that waits in a lane."""

    def wake(self) -> bool:
        """Its turn has come; False where it no longer wants it. Must neither wait nor raise."""
        ...


class Gate:
    """At most `limit` places, given at the pace of `budget`.

    A cancelled holder or waiter gives its place back; nobody overtakes within a lane. While the service is down, calls
    wait for it, for at most `patience` seconds.
    """

    def __init__(
        self,
        limit: int,
        scheduler: Scheduler,
        budget: Budget | None = None,
        *,
        patience: float = 0.0,
        uniform: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.budget = budget or Budget()
        self._limit = limit
        self._scheduler = scheduler
        self._patience = patience
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self._free = limit
        self._calls: deque[Alarm] = deque()
        self._polls: deque[Turn] = deque()
        self._calls_in_a_row = 0
        self._next_look: Entry | None = None
        self._closed = False
        self._idle: asyncio.Event | None = None
        if self.budget.allowance is not None:
            self.budget.allowance.serve(self.look)

    @property
    def polls_waiting(self) -> int:
        """How many polls stand in their lane."""
        return len(self._polls)

    @property
    def is_crowded(self) -> bool:
        """Whether no more polls should come: those that wait are as many as get in at once, or under a budget a few."""
        return len(self._polls) >= (self._limit if self.budget.is_free else MOST_WAITING)

    async def enter(self, *, deadline: float | None = None) -> None:
        """Take a place for a call, or wait for one until `deadline`.

        Raises `NotSent` without a place, and once the gate is closed.
        """
        now = self._loop.time()
        if self._closed or (deadline is not None and now >= deadline):
            raise self._why_not(deadline)
        if self._take_place():
            return
        if self.budget.down_for(now) > self._patience:
            raise self._why_not(deadline)
        place = Alarm(self._loop)
        self._calls.append(place)
        entry = None if deadline is None else self._scheduler.at(deadline, place)
        self.look()
        try:
            if not await place:
                raise self._why_not(deadline)
        except asyncio.CancelledError:
            if place.was_woken:
                self.leave()  # the place had just become ours
            elif place in self._calls:
                self._calls.remove(place)
            raise
        finally:
            if entry is not None:
                self._scheduler.cancel(entry)

    def enter_poll(self, poll: Turn) -> None:
        """Wake a poll as soon as there is a place for it."""
        if not self._closed:
            self._polls.append(poll)
            self.look()

    def leave(self) -> None:
        """Give the place back."""
        self._free += 1
        if self._calls or self._polls:
            self.look()
        if self._idle is not None and self._free == self._limit:
            self._idle.set()

    def look(self) -> None:
        """Let in who may come in now, and look again when the budget allows the next."""
        while self._free and (self._calls or self._polls):
            if not self.budget.is_free and (wait := self.budget.wait(self._loop.time())):
                self._look_again(wait)
                return
            self._free -= 1
            if not self._wake_next():
                self._free += 1
                return
            self._spend()

    fire = look
    """The budget may allow the next."""

    def give_up_calls(self) -> None:
        """Turn away the calls that wait, if the service has been down for longer than their patience."""
        if self.budget.down_for(self._loop.time()) > self._patience:
            self._turn_away()

    def close(self) -> None:
        """Turn away all that wait, and all that come."""
        self._closed = True
        self._turn_away()
        self._polls.clear()
        if self._next_look is not None:
            self._scheduler.cancel(self._next_look)

    async def aclose(self) -> None:
        """Close, then wait until all that are in flight have left."""
        self.close()
        if self._free < self._limit:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    def _why_not(self, deadline: float | None) -> NotSent:
        if self._closed:
            return NotSent("the session was closed before this was sent: nothing was sent")
        if deadline is not None and self._loop.time() >= deadline:
            return NotSentInTime("the deadline passed before this was sent: nothing was sent")
        return NotSent("the service has been down for long: nothing was sent, try again later")

    def _take_place(self) -> bool:
        """A place at once, if nobody waits for one."""
        if not self._free or self._calls or self._polls:
            return False
        if not self.budget.is_free and self.budget.wait(self._loop.time()):
            return False
        self._free -= 1
        self._spend()
        return True

    def _spend(self) -> None:
        if not self.budget.is_free:
            self.budget.take(self._loop.time(), self._uniform())

    def _turn_away(self) -> None:
        for place in self._calls:
            place.fire()
        self._calls.clear()

    def _look_again(self, wait: float) -> None:
        if self.budget.allowance is not None and math.isinf(wait):
            self.budget.allowance.want(len(self._calls) + len(self._polls))
            return
        due = self._loop.time() + wait
        if self._next_look is not None:
            if self._next_look.target is not None and self._next_look.due <= due:
                return
            self._scheduler.cancel(self._next_look)
        self._next_look = self._scheduler.at(due, self)

    def _wake_next(self) -> bool:
        if (self._calls_in_a_row < CALLS_PER_POLL or not self._polls) and _wake_first(self._calls):
            self._calls_in_a_row += 1
            return True
        self._calls_in_a_row = 0
        return _wake_first(self._polls) or _wake_first(self._calls)


def _wake_first(lane: deque[Alarm] | deque[Turn]) -> bool:
    """Wake the first that still waits; False where nobody does."""
    while lane:
        if lane.popleft().wake():
            return True
    return False
