"""An async map over any source, with a bounded number of items in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

A = TypeVar("A")
B = TypeVar("B")


async def bounded_map(
    source: Iterable[A] | AsyncIterable[A],
    work: Callable[[A], Awaitable[B]],
    *,
    limit: int,
    ordered: bool,
) -> AsyncGenerator[B]:
    """Yields the result of `work` for each item. At most `limit` items are read from the source and not yet yielded.

    Leaving the loop early cancels the unfinished work. An error of `work` ends the loop at once; an error of the source
    ends it after the results of all items that were read.
    """
    run = _BoundedMap(source, work, limit=limit, ordered=ordered)
    try:
        while (task := await run.next_task()) is not None:
            yield task.result()
            run.release_slot()
    finally:
        await run.aclose()


class _BoundedMap(Generic[A, B]):
    def __init__(
        self,
        source: Iterable[A] | AsyncIterable[A],
        work: Callable[[A], Awaitable[B]],
        *,
        limit: int,
        ordered: bool,
    ) -> None:
        self._work = work
        self._ordered = ordered
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(limit)
        self._tasks: dict[asyncio.Task[B], None] = {}  # in the order of the source
        self._done: deque[asyncio.Task[B]] = deque()
        self._changed = asyncio.Event()
        self._feeder = self._loop.create_task(self._feed_tasks(source))
        self._feeder.add_done_callback(lambda _: self._changed.set())

    async def next_task(self) -> asyncio.Task[B] | None:
        """Returns a finished task; None if the source is exhausted and no task is left."""
        while (task := self._pop_finished()) is None:
            if self._feeder.done() and not self._tasks:
                self._feeder.result()
                return None
            self._changed.clear()
            await self._changed.wait()
        self._tasks.pop(task)
        return task

    def release_slot(self) -> None:
        """Allows to read one more item."""
        self._slots.release()

    async def aclose(self) -> None:
        """Cancels the source and every task, and waits for their ends."""
        remaining = [self._feeder, *self._tasks]
        for task in remaining:
            task.cancel()
        try:
            await asyncio.gather(*remaining, return_exceptions=True)
        finally:
            # A cancelled task holds its frame, which holds this object: a cycle that Python 3.11 does not collect.
            del self._feeder
            self._tasks.clear()
            self._done.clear()

    def _pop_finished(self) -> asyncio.Task[B] | None:
        if not self._ordered:
            return self._done.popleft() if self._done else None
        head = next(iter(self._tasks), None)
        return head if head is not None and head.done() else None

    async def _feed_tasks(self, source: Iterable[A] | AsyncIterable[A]) -> None:
        items = aiter(source) if isinstance(source, AsyncIterable) else _AsyncIteratorAdapter(source)
        while True:
            await self._slots.acquire()
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            task = self._loop.create_task(self._run_item(item))
            self._tasks[task] = None
            task.add_done_callback(self._on_task_done)

    async def _run_item(self, item: A) -> B:
        return await self._work(item)

    def _on_task_done(self, task: asyncio.Task[B]) -> None:
        if not self._ordered:
            self._done.append(task)
        self._changed.set()


class _AsyncIteratorAdapter(AsyncIterator[A]):
    """An async iterator over a plain iterable. An async generator would need to be closed."""

    def __init__(self, source: Iterable[A]) -> None:
        self._items = iter(source)

    async def __anext__(self) -> A:
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None
