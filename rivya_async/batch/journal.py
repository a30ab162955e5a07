"""The journal of a batch: one SQLite file that knows how far every row has come, whatever happens to the process."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from .._core.addresses import is_on_this_machine
from .._core.errors import ConfigurationError, JournalError
from .._jobs.transitions import JobState, check_transition
from .lock import Lock
from .planning import Planned, plan
from .record import RowRecord
from .tables import CREATE, CREDITS, SELECT, VERSION, identity_of, record_of
from .writer import Writer

if TYPE_CHECKING:
    from .._core.records import Amount
    from .bad_row import BadRow
    from .row import Row

T = TypeVar("T")

PAGE: Final = 500
"""Rows that are read at once."""

OUTLIVES_THE_MACHINE: Final = "FULL"
"""A commit is on the disk before it returns, so that not even a power cut makes us buy again what was bought."""


class Journal:
    """The rows of one batch, kept by this process alone until `aclose`.

    `batch_id` names a new batch; an old one has its own. Raises `JournalError` if another process has it or it is no
    journal, `ConfigurationError` if it is that of another batch.
    """

    def __init__(self, path: Path, batch_id: str | None, now: float) -> None:
        self.path = path
        self._lock = Lock(path)
        try:
            connection = opened(path, batch_id, now)
        except BaseException:
            self._lock.release()
            raise
        self._writer = Writer(path, connection)
        self.batch_id = id_of(connection)
        self.counts: Counter[JobState] = Counter()
        """How many rows are in which state."""
        self.credits: Amount = 0
        """What all rows count: see `RowRecord.credits`."""
        self._count(connection)

    async def plan(self, rows: Iterable[Row | BadRow], *, keep_going: bool) -> Planned:
        """Take in rows, all or none: what `rows` raises, as they are read in the journal's thread, undoes the plan."""
        await self.written()  # a plan must know of every purchase
        cut = threading.Event()

        def planned(connection: sqlite3.Connection) -> Planned:
            found = plan(_until(cut, rows), self.batch_id, connection, keep_going=keep_going)
            self._count(connection)
            return found

        return await self._writer.run(planned, on_cancel=cut.set)

    def advance(self, record: RowRecord, state: JobState, **changes: Any) -> RowRecord:
        """The record in its new state; it is on the disk once `written` returns. ConfigurationError for a wrong one."""
        return self.note(record, state=check_transition(record.state, state), **changes)

    def note(self, record: RowRecord, **changes: Any) -> RowRecord:
        """The record with these changes, which will be written within a moment."""
        changed = record.changed(changes)
        self.counts[record.state] -= 1
        self.counts[changed.state] += 1
        self.credits += changed.credits - record.credits
        self._writer.change(identity_of(record.row), changes)
        return changed

    async def written(self) -> None:
        """Return when all that was said is on the disk. Raises `JournalError`."""
        await self._writer.written()

    async def page(self, states: Sequence[JobState], after: int) -> tuple[int, list[RowRecord]]:
        """The next rows that are in one of these states, and the place of the last of them."""
        marks = ", ".join("?" * len(states))
        select = f"{SELECT} WHERE place > ? AND state IN ({marks}) ORDER BY place LIMIT ?"
        found = await self._writer.run(lambda connection: connection.execute(select, [after, *states, PAGE]).fetchall())
        return (found[-1][0] if found else after), [record_of(values, self.batch_id) for _, *values in found]

    async def begin_run(self, now: float, service: str) -> int:
        """Enter a run of this process against this service.

        Raises `ConfigurationError` where what is bought was bought of a sandbox and this is none, or the other way.
        """
        await self.written()  # what an earlier one has left to say
        latest = "SELECT service FROM runs ORDER BY number DESC LIMIT 1"
        found = await self._writer.run(lambda connection: connection.execute(latest).fetchone())
        is_bought = self.counts.total() > self.counts[JobState.PLANNED]
        if found is not None and is_bought and _is_local(found[0]) != _is_local(service):
            raise ConfigurationError(
                f"the jobs of {self.path} were bought at {found[0]}, and {service} knows nothing of them: "
                "choose another journal, or that service"
            )
        insert = "INSERT INTO runs (started_at, service) VALUES (?, ?)"
        return int(await self._writer.run(lambda connection: connection.execute(insert, [now, service]).lastrowid or 0))

    async def end_run(self, number: int, now: float) -> None:
        """Enter its end."""
        update = "UPDATE runs SET ended_at = ? WHERE number = ?"
        await self._writer.run(lambda connection: connection.execute(update, [now, number]))

    async def aclose(self) -> None:
        """Write what is left and let others have the file. `JournalError` if it cannot be written."""
        try:
            await self._writer.aclose()
        finally:
            self._lock.release()

    def _count(self, connection: sqlite3.Connection) -> None:
        counted = connection.execute(f"SELECT state, count(*), sum({CREDITS}) FROM rows GROUP BY state").fetchall()
        self.counts = Counter({JobState(state): count for state, count, _ in counted})
        self.credits = sum(counts for _, _, counts in counted)


def _is_local(service: str) -> bool:
    return is_on_this_machine(urlsplit(service).hostname or "")


def _until(cut: threading.Event, rows: Iterable[T]) -> Iterator[T]:
    for row in rows:
        if cut.is_set():
            raise InterruptedError
        yield row


def opened(path: Path, batch_id: str | None, now: float) -> sqlite3.Connection:
    """The file, made if it is not there."""
    try:
        connection = sqlite3.connect(path.resolve(), isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be opened: {error}") from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {OUTLIVES_THE_MACHINE}")
        _make(connection, batch_id or path.stem, now)
        check(connection, path)
        known = id_of(connection)
    except sqlite3.Error as error:
        connection.close()
        raise JournalError(f"{path} is no journal of a batch, or cannot be written: {error}") from None
    except BaseException:
        connection.close()
        raise
    if batch_id is not None and known != batch_id:
        connection.close()
        raise ConfigurationError(f"{path} is the journal of the batch {known!r}: choose another file for {batch_id!r}")
    return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `JournalError` for a file that is of somebody else."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise JournalError(f"{path} is no journal of a batch of this version: choose another file")


def id_of(connection: sqlite3.Connection) -> str:
    """The name of the batch whose journal this is."""
    (batch_id,) = connection.execute("SELECT id FROM batch").fetchone()
    return str(batch_id)


def _make(connection: sqlite3.Connection, batch_id: str, now: float) -> None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        with connection:
            connection.execute("BEGIN EXCLUSIVE")
            for statement in CREATE:
                connection.execute(statement)
            connection.execute("INSERT INTO batch VALUES (?, ?)", [batch_id, now])
            connection.execute(f"PRAGMA user_version = {VERSION}")
