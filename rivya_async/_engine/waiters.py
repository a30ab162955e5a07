"""Who waits for a job: one caller for one job, or one caller for many."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from .._core.errors import RivyaError
    from .._core.policies import PollPolicy
    from .._core.records import Generation

UPDATES_KEPT: Final = 64
"""A slow listener misses the oldest of more snapshots than this; it never misses the last."""

NOTES_SHOWN: Final = 10


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

    def progress(self, generation: Generation) -> None:
        """The job has changed and is still open."""

    def settle(self, generation: Generation) -> None:
        """The job has ended."""
        raise NotImplementedError

    def fail(self, task_id: str, error: RivyaError) -> None:
        """The wait for this job has ended without its end."""
        raise NotImplementedError

    def _news(self) -> asyncio.Future[None]:
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
        self._updates: deque[Generation] | None = deque(maxlen=UPDATES_KEPT) if listens else None

    async def end(self) -> Generation | None:
        """The terminal record; None at the deadline. Raises the error that ended the wait."""
        while self._outcome is None and not self.expired:
            await self._news()
        return self._told()

    async def update(self) -> Generation | None:
        """The next changed snapshot; None once there will be no more, by an end or at the deadline."""
        updates = self._updates
        while not updates and self._outcome is None and not self.expired:
            await self._news()
        return updates.popleft() if updates else None

    def progress(self, generation: Generation) -> None:
        """Keep a changed snapshot for a listener."""
        if self._updates is not None:
            self._updates.append(generation)
            self._wake()

    def settle(self, generation: Generation) -> None:
        """Keep the terminal record."""
        self._outcome = generation
        self._wake()

    def fail(self, task_id: str, error: RivyaError) -> None:  # noqa: ARG002 - a waiter for many needs the id
        """Keep the error."""
        self._outcome = error
        self._wake()

    def _told(self) -> Generation | None:
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Exception):
            try:
                raise outcome
            finally:
                del outcome  # an error that its own traceback holds would wait for the garbage collector
        return outcome


class GroupWaiter(Waiter):
    """Waits for many jobs and hands out their ends in the order in which they come."""

    __slots__ = ("_ended", "errors", "open_ids")

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PollPolicy, task_ids: set[str]) -> None:
        super().__init__(loop, policy)
        self.open_ids = task_ids
        self._ended: deque[Generation] = deque()
        self.errors: dict[str, RivyaError] = {}

    async def next_end(self) -> Generation | None:
        """The next terminal record; None once there will be no more, or at the deadline."""
        while not self._ended and self.open_ids and not self.expired:
            await self._news()
        return self._ended.popleft() if self._ended else None

    def settle(self, generation: Generation) -> None:
        """Queue an end."""
        self._ended.append(generation)
        self._close(generation.id)

    def fail(self, task_id: str, error: RivyaError) -> None:
        """Keep the error: the other jobs are waited for all the same."""
        self.errors[task_id] = error
        self._close(task_id)

    def raise_errors(self, deadline_error: RivyaError | None = None) -> None:
        """Raise the deadline's error, else the first that was kept, with a note for each of the others."""
        errors = [*([] if deadline_error is None else [deadline_error]), *self.errors.values()]
        if not errors:
            return
        first, *others = errors
        for other in others[:NOTES_SHOWN]:
            first.add_note("; ".join([str(other), *getattr(other, "__notes__", ())]))  # its notes name the job
        if len(others) > NOTES_SHOWN:
            first.add_note(f"... and {len(others) - NOTES_SHOWN} more")
        raise first

    def _close(self, task_id: str) -> None:
        self.open_ids.discard(task_id)
        self._wake()
