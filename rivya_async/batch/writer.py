"""The journal's own thread: it alone touches the file, and writes what came in a moment in one commit."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .._core.errors import JournalError
from .._engine.disk import ended
from .schema import update_statement, update_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

MOMENT: Final = 0.02
"""Seconds for which a commit waits for company: what is said of thirty rows costs half as much each as of seven."""

Changes = dict[str, dict[str, Any]]
"""The new values of columns, by the identity of the row."""


class GroupCommitWriter:
    """Takes changes on the loop. What is said of one row within a moment is written once."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, "rivya-journal")
        self._changes: Changes = {}
        self._next: asyncio.Future[None] | None = None
        self._in_flight: asyncio.Future[None] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._is_closed = False

    def change(self, identity: str, changes: Mapping[str, Any]) -> None:
        """Write this within a moment."""
        self._check_open()
        self._changes.setdefault(identity, {}).update(changes)
        self._commit_of_what_is_left()

    async def flush(self) -> None:
        """Return when all that was said so far is on the disk. Safe to cancel: it is written all the same.

        Raises `JournalError` where it cannot be written; it is kept, and tried again with the next change.
        """
        if self._changes:
            await asyncio.shield(self._commit_of_what_is_left())
        elif self._in_flight is not None:
            await asyncio.shield(self._in_flight)

    async def run(self, call: Callable[[sqlite3.Connection], T], *, on_cancel: Callable[[], None] | None = None) -> T:
        """Do something with the file in its thread. Whoever cancels waits for the end of it; `on_cancel` hastens it."""
        self._check_open()
        return await ended(self._asked(call), on_cancel)

    async def aclose(self) -> None:
        """Write what is left and let go of the file. `JournalError` if it cannot be written.

        Whoever cancels waits for the end of it. Does nothing once it is closed.
        """
        if not self._is_closed:
            await ended(asyncio.create_task(self._close()))

    async def _close(self) -> None:
        try:
            await self.flush()
        finally:
            self._is_closed = True
            await self._asked(sqlite3.Connection.close)  # after whatever the thread still does
            self._thread.shutdown()

    def _check_open(self) -> None:
        if self._is_closed:
            raise JournalError(f"the journal {self._path} is closed: open the batch again")

    def _asked(self, call: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, partial(self._guarded, call))

    def _commit_of_what_is_left(self) -> asyncio.Future[None]:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._next.add_done_callback(lambda commit: commit.exception())  # perhaps nobody waits for it
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return self._next

    async def _flush(self) -> None:
        """One commit after another, as long as somebody has said something new."""
        try:
            while self._next is not None:
                await asyncio.sleep(MOMENT)
                self._in_flight, self._next = self._next, None
                await self._commit(self._in_flight)
        finally:
            left, self._flusher, self._in_flight, self._next = self._next, None, None, None
            if left is not None:
                left.set_exception(self._cut())

    async def _commit(self, commit: asyncio.Future[None]) -> None:
        changes, self._changes = self._changes, {}
        try:
            await self.run(partial(_write, changes))
            commit.set_result(None)
        except JournalError as error:
            commit.set_exception(error)
        finally:
            if not commit.done():
                commit.set_exception(self._cut())
            if commit.exception() is not None:
                for identity, older in changes.items():
                    self._changes[identity] = older | self._changes.get(identity, {})

    def _cut(self) -> JournalError:
        return JournalError(f"the journal {self._path} was not written to the end: run the batch again")

    def _guarded(self, call: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return call(self._connection)
        except sqlite3.Error as error:
            raise JournalError(
                f"the journal {self._path} cannot be read or written: {error}; nothing more is bought before it can. "
                "Make room, or mend what is the matter, and run the batch again: it goes on where it was"
            ) from error


def _write(changes: Changes, connection: sqlite3.Connection) -> None:
    """All rows whose same columns change at once."""
    alike: dict[tuple[str, ...], list[list[Any]]] = {}
    for identity, values in changes.items():
        alike.setdefault(tuple(values), []).append([*update_values(values), identity])
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for names, rows in alike.items():
            connection.executemany(update_statement(names), rows)
