"""Group commit: one thread writes the changes of many callers to a SQLite file, in one transaction."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

OWNER_ONLY: Final = 0o600
"""Permissions of a database. SQLite creates the files beside it, `-wal` and `-shm`, with the same ones."""


def create_private_file(path: Path) -> None:
    """Creates a file that only its owner can read and write, unless it exists."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))


def restrict_to_owner(path: Path) -> None:
    """Takes the permissions of others from an existing database and the files beside it."""
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if each.exists():
            each.chmod(OWNER_ONLY)


class WriterClosed(sqlite3.ProgrammingError):
    """The writer has no open file."""


class CommitInterrupted(sqlite3.OperationalError):
    """The task that waited for a commit was cancelled, so its outcome is unknown. Its changes are kept."""


class GroupCommitWriter(Generic[K, V]):
    """Pending changes by key, and the thread that alone writes them.

    `write` runs in the thread and writes all changes or none. The newest value of each key is written. The changes of a
    failed commit stay pending. A commit waits `delay` seconds for more changes. `to_error` maps a failure to the error
    that callers see.
    """

    def __init__(
        self,
        write: Callable[[sqlite3.Connection, Mapping[K, V]], None],
        *,
        thread_name: str,
        to_error: Callable[[sqlite3.Error], Exception],
        delay: float = 0.0,
    ) -> None:
        self._write = write
        self._thread_name = thread_name
        self._to_error = to_error
        self._delay = delay
        self._changes: dict[K, V] = {}
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._next: asyncio.Future[None] | None = None
        self._in_flight: asyncio.Future[None] | None = None
        self._flusher: asyncio.Task[None] | None = None

    def open(self, connection: sqlite3.Connection) -> None:
        """Takes over a connection that any thread may use."""
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, self._thread_name)
        self._next = self._in_flight = self._flusher = None  # those of a loop that has ended

    @property
    def is_behind(self) -> bool:
        """True while changes are not on the disk yet."""
        return bool(self._changes) or self._in_flight is not None

    def put(self, changes: Mapping[K, V]) -> None:
        """Adds changes to the next commit without starting it."""
        self._changes.update(changes)

    def schedule_commit(self) -> asyncio.Future[None]:
        """Starts the next commit, unless it is scheduled, and returns its outcome. The outcome may be ignored."""
        if self._thread is None:
            raise self._to_error(WriterClosed("the file is closed"))
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._next.add_done_callback(lambda commit: commit.exception())
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._run_commits())
        return self._next

    async def flush(self) -> None:
        """Returns when every change so far is on the disk. Cancelling it does not cancel the commit."""
        commit = self.schedule_commit() if self._changes else self._in_flight
        if commit is not None:
            await asyncio.wait([commit])  # not `shield`, which reports an error after a cancellation to the loop
            commit.result()

    def submit(self, call: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Runs a call in the writer's thread."""
        if self._thread is None:
            raise self._to_error(WriterClosed("the file is closed"))
        return asyncio.get_running_loop().run_in_executor(self._thread, self._run_guarded, call)

    async def aclose(self) -> None:
        """Writes pending changes and closes the file in the thread, even if a change cannot be written."""
        try:
            if self._thread is not None:
                await self.flush()
        finally:
            if self._thread is not None:
                closing = self.submit(sqlite3.Connection.close)
                self._thread.shutdown(wait=False)
                self._thread = None
                closing.add_done_callback(lambda done: done.cancelled() or done.exception())
                await asyncio.wait([closing])
                closing.result()

    def close(self) -> None:
        """Closes the file after the commit that is in flight. Other changes stay pending. Blocks."""
        if self._thread is not None and self._connection is not None:
            self._thread.shutdown()
            self._thread = None
            self._connection.close()

    async def _run_commits(self) -> None:
        try:
            while self._next is not None:
                if self._delay:
                    await asyncio.sleep(self._delay)
                self._in_flight, self._next = self._next, None
                await self._commit(self._in_flight)
        finally:
            unfinished, self._flusher, self._in_flight, self._next = self._next, None, None, None
            if unfinished is not None:
                unfinished.set_exception(self._to_error(CommitInterrupted("the commit was interrupted")))

    async def _commit(self, commit: asyncio.Future[None]) -> None:
        changes, self._changes = self._changes, {}
        try:
            await self.submit(lambda connection: self._write(connection, changes))
        except BaseException as error:
            self._changes = {**changes, **self._changes}
            if not isinstance(error, Exception):
                commit.set_exception(self._to_error(CommitInterrupted("the commit was interrupted")))
                raise
            commit.set_exception(error)
        else:
            commit.set_result(None)

    def _run_guarded(self, call: Callable[[sqlite3.Connection], T]) -> T:
        assert self._connection is not None  # noqa: S101  it is set before the thread starts
        try:
            return call(self._connection)
        except sqlite3.Error as error:
            raise self._to_error(error) from error
