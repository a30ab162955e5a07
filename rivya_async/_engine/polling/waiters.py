"""Who waits for a job: one caller for one job, or one caller for many."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from ..._core.errors import RivyaError
    from ..._core.policies import PollPolicy
    from ..._core.types.generations import Generation

MAX_BUFFERED_UPDATES: Final = 64
"""A slow listener misses the oldest of more snapshots than this; it never misses the last."""

MAX_ERROR_NOTES: Final = 10


class Waiter:
    """Sleeps until a watched job tells something, or until its deadline fires."""

    __slots__ = ("_future", "_loop", "expired", "policy")

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PollPolicy) -> None:
        self._loop = loop
        self.policy = policy
        self._future: asyncio.Future[None] | None = None
        self.expired = False

    def fire(self) -> None:
        """The deadline has come."""
        self.expired = True
        self._wake()

    def on_update(self, generation: Generation) -> None:
        """The job has changed and is still open."""

    def on_terminal(self, generation: Generation) -> None:
        """The job has ended."""
        raise NotImplementedError

    def on_error(self, task_id: str, error: RivyaError) -> None:
        """The wait for this job has ended without its end."""
        raise NotImplementedError

    def _wait_for_change(self) -> asyncio.Future[None]:
        """What to await for the next wake. No coroutine of its own: that would be a frame more per waiting job."""
        self._future = self._loop.create_future()
        return self._future

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class SingleWaiter(Waiter):
    """Waits for one job. A listener wakes for every changed snapshot, the others for the end only."""

    __slots__ = ("_outcome", "_updates")

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PollPolicy, *, listens: bool = False) -> None:
        super().__init__(loop, policy)
        self._outcome: Generation | RivyaError | None = None
        self._updates: deque[Generation] | None = deque(maxlen=MAX_BUFFERED_UPDATES) if listens else None

    async def wait_terminal(self) -> Generation | None:
        """The terminal record; None at the deadline. Raises the error that ended the wait."""
        while self._outcome is None and not self.expired:
            await self._wait_for_change()
        return self._take_outcome()

    async def next_update(self) -> Generation | None:
        """The next changed snapshot; None once there will be no more, by an end or at the deadline."""
        updates = self._updates
        while not updates and self._outcome is None and not self.expired:
            await self._wait_for_change()
        return updates.popleft() if updates else None

    def on_update(self, generation: Generation) -> None:
        """Keep a changed snapshot for a listener."""
        if self._updates is not None:
            self._updates.append(generation)
            self._wake()

    def on_terminal(self, generation: Generation) -> None:
        """Keep the terminal record."""
        self._outcome = generation
        self._wake()

    def on_error(self, task_id: str, error: RivyaError) -> None:  # noqa: ARG002 - a waiter for many needs the id
        """Keep the error."""
        self._outcome = error
        self._wake()

    def _take_outcome(self) -> Generation | None:
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Exception):
            try:
                raise outcome
            finally:
                del outcome  # an error that its own traceback holds would wait for the garbage collector
        return outcome


class GroupWaiter(Waiter):
    """Waits for many jobs and hands out their ends in the order in which they come."""

    __slots__ = ("_terminal", "errors", "open_ids")

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PollPolicy, task_ids: set[str]) -> None:
        super().__init__(loop, policy)
        self.open_ids = task_ids
        self._terminal: deque[Generation] = deque()
        self.errors: dict[str, RivyaError] = {}

    async def next_terminal(self) -> Generation | None:
        """The next terminal record; None once there will be no more, or at the deadline."""
        while not self._terminal and self.open_ids and not self.expired:
            await self._wait_for_change()
        return self._terminal.popleft() if self._terminal else None

    def on_terminal(self, generation: Generation) -> None:
        """Queue an end."""
        self._terminal.append(generation)
        self._remove(generation.id)

    def on_error(self, task_id: str, error: RivyaError) -> None:
        """Keep the error: the other jobs are waited for all the same."""
        self.errors[task_id] = error
        self._remove(task_id)

    def raise_errors(self, deadline_error: RivyaError | None = None) -> None:
        """Raise the deadline's error, else the first that was kept, with a note for each of the others."""
        errors = [*([] if deadline_error is None else [deadline_error]), *self.errors.values()]
        if not errors:
            return
        first, *others = errors
        for other in others[:MAX_ERROR_NOTES]:
            first.add_note("; ".join([str(other), *getattr(other, "__notes__", ())]))  # its notes name the job
        if len(others) > MAX_ERROR_NOTES:
            first.add_note(f"... and {len(others) - MAX_ERROR_NOTES} more")
        raise first

    def _remove(self, task_id: str) -> None:
        self.open_ids.discard(task_id)
        self._wake()
