"""The end of a wait that has a timeout: a last look at the job shortly before, then no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .polls import Polls
    from .scheduler import Entry, Scheduler
    from .waiters import SingleWaiter
    from .watch import Watch

LAST_LOOK: Final = 2.0
"""Seconds before the deadline, or a tenth of the wait if that is less, by which a last poll is sent."""


class Deadline:
    """Lets a wait expire, but not for want of a look: a job that has ended since its last poll has ended in time."""

    __slots__ = ("_at", "_entry", "_has_looked", "_polls", "_scheduler", "_waiter", "_watch")

    def __init__(self, at: float, scheduler: Scheduler, waiter: SingleWaiter, polls: Polls, watch: Watch) -> None:
        self._at = at
        self._scheduler = scheduler
        self._waiter = waiter
        self._polls = polls
        self._watch = watch
        self._has_looked = False
        left = at - asyncio.get_running_loop().time()
        self._entry: Entry = scheduler.at(at - min(LAST_LOOK, left / 10.0), self)

    def fire(self) -> None:
        """Time for the last look, or for the end."""
        if self._has_looked:
            self._waiter.fire()
            return
        self._has_looked = True
        self._entry = self._scheduler.at(self._at, self)
        self._polls.look_before(self._watch, self._at)

    def cancel(self) -> None:
        """The wait is over."""
        self._scheduler.cancel(self._entry)
