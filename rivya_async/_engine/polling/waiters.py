"""Waiters: one caller that waits for one job or for many, its deadline, and the errors that end its wait."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from ..._core.errors import ConfigurationError, SessionClosedError, WaitTimeoutError
from ..._core.types.generations import Generation

if TYPE_CHECKING:
    import asyncio

    from ..._core.errors import RivyaError
    from ..._core.policies import PollPolicy

T = TypeVar("T")

MAX_BUFFERED_UPDATES: Final = 64
"""Snapshots that are buffered for a slow listener: it misses the oldest of more, never the last."""

OnUpdate: TypeAlias = Callable[[Generation], Awaitable[None] | None]
"""A plain or async function that is called with every changed snapshot of a job."""


class Waiter:
    """A caller that sleeps until a tracked job reports something, or until its deadline."""

    __slots__ = ("_future", "_loop", "expired", "policy")

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PollPolicy) -> None:
        self._loop = loop
        self.policy = policy
        self._future: asyncio.Future[None] | None = None
        self.expired = False

    def fire(self) -> None:
        """Called by the timer at the deadline."""
        self.expired = True
        self._wake()

    def on_update(self, generation: Generation) -> None:
        """Called when the job has changed and is still open."""

    def on_terminal(self, generation: Generation) -> None:
        """Called when the job has ended."""
        raise NotImplementedError

    def on_error(self, task_id: str, error: RivyaError) -> None:
        """Called when the wait for this job fails."""
        raise NotImplementedError

    def wait_for_change(self) -> asyncio.Future[None]:
        """Returns the future of the next change. A coroutine would cost one more frame per waiting job."""
        self._future = self._loop.create_future()
        return self._future

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class SingleWaiter(Waiter):
    """Waits for one job. A listening waiter wakes for every changed snapshot, others for the end only."""

    __slots__ = ("_outcome", "_updates")

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PollPolicy, *, listens: bool = False) -> None:
        super().__init__(loop, policy)
        self._outcome: Generation | RivyaError | None = None
        self._updates: deque[Generation] | None = deque(maxlen=MAX_BUFFERED_UPDATES) if listens else None

    @property
    def is_done(self) -> bool:
        """True at the end of the job, at the deadline, and after an error."""
        return self._outcome is not None or self.expired

    def take_outcome(self) -> Generation | None:
        """Returns the terminal record, or None at the deadline. Raises the error that ended the wait."""
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Exception):
            try:
                raise outcome
            finally:
                del outcome  # breaks the reference cycle between the error and its traceback
        return outcome

    async def next_update(self) -> Generation | None:
        """Returns the next changed snapshot; None at the end of the job and at the deadline."""
        updates = self._updates
        while not updates and not self.is_done:
            await self.wait_for_change()
        return updates.popleft() if updates else None

    def on_update(self, generation: Generation) -> None:
        """Buffers a changed snapshot for a listening waiter."""
        if self._updates is not None:
            self._updates.append(generation)
            self._wake()

    def on_terminal(self, generation: Generation) -> None:
        """Stores the terminal record."""
        self._outcome = generation
        self._wake()

    def on_error(self, task_id: str, error: RivyaError) -> None:  # noqa: ARG002 - a group waiter needs the id
        """Stores the error."""
        self._outcome = error
        self._wake()


class GroupWaiter(Waiter):
    """Waits for many jobs and returns their terminal records in the order of their ends."""

    __slots__ = ("_terminal", "errors", "open_ids")

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PollPolicy, task_ids: set[str]) -> None:
        super().__init__(loop, policy)
        self.open_ids = task_ids
        self._terminal: deque[Generation] = deque()
        self.errors: dict[str, RivyaError] = {}

    async def next_terminal(self) -> Generation | None:
        """Returns the next terminal record; None once there will be no more, and at the deadline."""
        while not self._terminal and self.open_ids and not self.expired:
            await self.wait_for_change()
        return self._terminal.popleft() if self._terminal else None

    def on_terminal(self, generation: Generation) -> None:
        """Queues a terminal record."""
        self._terminal.append(generation)
        self._remove(generation.id)

    def on_error(self, task_id: str, error: RivyaError) -> None:
        """Stores the error; the wait for the other jobs continues."""
        self.errors[task_id] = error
        self._remove(task_id)

    def raise_errors(self, timeout_error: RivyaError | None = None) -> None:
        """Raises the only error, or an `ExceptionGroup` of the timeout error and the stored errors.

        The end of the session is one error, however many jobs it concerns.
        """
        errors = [*([] if timeout_error is None else [timeout_error]), *self.errors.values()]
        for error in errors:
            if isinstance(error, SessionClosedError):
                raise error
        if len(errors) > 1:
            raise ExceptionGroup(f"{len(errors)} waits failed", errors)
        if errors:
            raise errors[0]

    def _remove(self, task_id: str) -> None:
        self.open_ids.discard(task_id)
        self._wake()


def wait_timeout_error(
    task_ids: list[str], last: Generation | None, poll_error: RivyaError | None = None
) -> WaitTimeoutError:
    """Returns the error of a wait whose deadline has passed. `poll_error` is given if no poll has succeeded."""
    first, *others = task_ids
    again = "Wait again with the same task id, here or in another process"
    if poll_error is not None:
        known = "" if last is None else f" ({last.status!r} when it was bought or last read)"
        more = f", nor of {len(others)} further jobs" if others else ""
        text = f"no poll of {first}{known}{more} has succeeded: {str(poll_error).removesuffix('.')}. {again}"
    elif others:
        text = f"{len(task_ids)} jobs are still open, {first} among them. The work goes on and stays paid. {again}"
    elif last is not None:
        text = f"{first} is still {last.status!r}. The work goes on and stays paid. {again}"
    else:
        text = f"the timeout passed before a poll of {first} was answered. {again}"
    error = WaitTimeoutError(text, task_id=first, last=last)
    error.__cause__ = poll_error
    if others:
        error.add_note("open: " + " ".join(task_ids))
    return error


def session_closed_error(task_id: str, last: Generation | None) -> SessionClosedError:
    """Returns the error of a wait whose session is closed."""
    return SessionClosedError(
        f"the session was closed during the wait for {task_id}. The job goes on: wait for it with another session",
        task_id=task_id,
        last=last,
    )


def validate_listener(listener: object, name: str = "on_update", argument: str = "Generation") -> None:
    """Raises `ConfigurationError` for a listener that cannot be called."""
    if listener is not None and not callable(listener):
        raise ConfigurationError(f"{name} must be a function of one {argument}, not {listener!r:.80}")


async def notify_listener(listener: Callable[[T], object], value: T) -> None:
    """Calls the listener, and awaits it if it is async."""
    result = listener(value)
    if inspect.isawaitable(result):
        await result


async def consume_updates(updates: AsyncGenerator[Generation], on_update: OnUpdate) -> Generation:
    """Passes every snapshot to the listener; returns the terminal record."""
    last: Generation | None = None
    try:
        async for generation in updates:
            last = generation
            await notify_listener(on_update, generation)
    finally:
        await updates.aclose()
    if last is None:
        raise ConfigurationError("a watched job ended without a record")
    return last
