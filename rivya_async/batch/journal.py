"""The journal of a batch: one SQLite file with the state of every row, correct after any end of the process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from .._core.errors import ConfigurationError, JournalError
from .._core.generation_request import GenerationRequest
from .._core.http.addresses import is_loopback_host
from .._core.masking import clean_message
from .._engine.transfers.file_io import await_uncancellable
from .._jobs.transitions import JobState, check_transition
from .._sqlite_writer import CommitInterrupted, GroupCommitWriter, WriterClosed, create_private_file
from .planner import PlanResult, plan_rows
from .row import RowRecord
from .schema import (
    CREDITS,
    SELECT_ROWS,
    check_version,
    create_tables,
    identity_key,
    parse_record,
    select_batch_id,
    write_changes,
)

if TYPE_CHECKING:
    from .._core.catalogue.learned_prices import LearnedPrices
    from .._core.types.generations import Amount
    from .row import InvalidRow, Row

T = TypeVar("T")

PAGE_SIZE: Final = 500
"""Rows that are read from the journal at a time."""

MAX_PRICES: Final = 1000
"""Purchases of earlier runs from which a run learns prices."""

COMMIT_DELAY: Final = 0.02
"""Seconds that a commit waits for more changes: a commit of thirty rows costs half as much per row as one of seven."""


class Journal:
    """The rows of one batch, locked by this process until `aclose`.

    `batch_id` names a new batch; an existing journal has its own. Raises `JournalError` if another process has the
    journal or the file is not a journal, and `ConfigurationError` if it is the journal of another batch.
    """

    def __init__(self, path: Path, batch_id: str | None, now: float) -> None:
        self.path = path
        self._lock = lock_journal(path)
        try:
            connection = open_journal(path, batch_id, now)
        except BaseException:
            self._lock.close()
            raise
        self._writer = GroupCommitWriter(
            write_changes, thread_name="rivya-journal", to_error=partial(_journal_error, path), delay=COMMIT_DELAY
        )
        self._writer.open(connection)
        self.batch_id = select_batch_id(connection)
        self.counts: Counter[JobState] = Counter()
        """The number of rows in each state."""
        self.credits: Amount = 0
        """The sum of `RowRecord.credits`."""
        self.service: str | None = None
        """The origin of the service of the latest run, or None before the first."""
        self._load_totals(connection)

    async def plan(self, rows: Iterable[Row | InvalidRow], *, keep_going: bool) -> PlanResult:
        """Adds rows, all or none. `rows` is read in the journal's thread, and an exception from it undoes the plan."""
        await self.flush()  # the plan must see every purchase
        cancelled = threading.Event()

        def plan(connection: sqlite3.Connection) -> PlanResult:
            result = plan_rows(_until(cancelled, rows), self.batch_id, connection, keep_going=keep_going)
            self._load_totals(connection)
            return result

        return await self._run(plan, on_cancel=cancelled.set)

    def advance(self, record: RowRecord, state: JobState, **changes: Any) -> RowRecord:
        """Returns the record in its new state. It is on the disk once `flush` returns.

        Raises `ConfigurationError` for a transition that is not allowed.
        """
        return self.update(record, state=check_transition(record.state, state), **changes)

    def update(self, record: RowRecord, **changes: Any) -> RowRecord:
        """Returns the record with these changes, and schedules writing them."""
        if changes.get("error"):
            changes["error"] = clean_message(changes["error"])
        changed = record.evolve(changes)
        self.counts[record.state] -= 1
        self.counts[changed.state] += 1
        self.credits += changed.credits - record.credits
        key = identity_key(record.row)
        self._writer.put({(key, column): value for column, value in changes.items()})
        self._writer.schedule_commit()
        return changed

    async def flush(self) -> None:
        """Returns when every change so far is on the disk. A failed commit is tried again with the next change.

        Raises `JournalError`. Cancelling it does not cancel the commit.
        """
        await self._writer.flush()

    async def fetch_page(self, states: Sequence[JobState], after: int) -> tuple[int, list[RowRecord]]:
        """Returns the next rows in one of these states after a place, and the place of the last of them."""
        marks = ", ".join("?" * len(states))
        select = f"{SELECT_ROWS} WHERE place > ? AND state IN ({marks}) ORDER BY place LIMIT ?"
        found = await self._run(lambda connection: connection.execute(select, [after, *states, PAGE_SIZE]).fetchall())
        return (found[-1][0] if found else after), [parse_record(values, self.batch_id) for _, *values in found]

    async def observe_prices(self, prices: LearnedPrices) -> None:
        """Adds the prices of the latest purchases to those of a session."""
        select = (
            "SELECT body, reserved_credits, task_id, final_credits FROM rows "
            "WHERE body IS NOT NULL AND reserved_credits IS NOT NULL ORDER BY submitted_at DESC LIMIT ?"
        )
        found = await self._run(lambda connection: connection.execute(select, [MAX_PRICES]).fetchall())
        for body, reserved, task_id, final in reversed(found):
            prices.observe(GenerationRequest(**json.loads(body)), reserved, task_id)
            if final is not None:
                prices.observe_end(task_id, final)

    async def begin_run(self, now: float, service: str) -> int:
        """Records the start of a run against this service and returns its number.

        Raises `ConfigurationError` where jobs were purchased from a sandbox and `service` is not one, or vice versa.
        """
        await self.flush()
        has_purchases = self.counts.total() > self.counts[JobState.PLANNED]
        if self.service is not None and has_purchases and _is_local(self.service) != _is_local(service):
            raise ConfigurationError(
                f"the jobs of {self.path} were bought at {self.service}, and {service} does not know them. "
                "Choose another journal, or that service"
            )
        self.service = service
        insert = "INSERT INTO runs (started_at, service) VALUES (?, ?)"
        return int(await self._run(lambda connection: connection.execute(insert, [now, service]).lastrowid or 0))

    async def end_run(self, number: int, now: float) -> None:
        """Records the end of a run."""
        update = "UPDATE runs SET ended_at = ? WHERE number = ?"
        await self._run(lambda connection: connection.execute(update, [now, number]))

    async def aclose(self) -> None:
        """Writes pending changes and releases the file, also if it is cancelled. Raises `JournalError`."""
        try:
            await await_uncancellable(asyncio.create_task(self._writer.aclose()))
        finally:
            self._lock.close()

    async def _run(self, call: Callable[[sqlite3.Connection], T], *, on_cancel: Callable[[], None] | None = None) -> T:
        return await await_uncancellable(self._writer.submit(call), on_cancel)

    def _load_totals(self, connection: sqlite3.Connection) -> None:
        totals = connection.execute(f"SELECT state, count(*), sum({CREDITS}) FROM rows GROUP BY state").fetchall()
        self.counts = Counter({JobState(state): count for state, count, _ in totals})
        self.credits = sum(amount for _, _, amount in totals)
        latest = connection.execute("SELECT service FROM runs ORDER BY number DESC LIMIT 1").fetchone()
        self.service = None if latest is None else latest[0]


def lock_journal(journal: Path) -> sqlite3.Connection:
    """Locks a journal until the connection is closed or the process ends. Raises `JournalError` if it is locked.

    It locks a file beside the journal with SQLite's own lock, which works on every system, so that the journal itself
    stays open to readers.
    """
    target = journal.resolve()  # a journal has one lock, also under several links
    path = target.with_name(f"{target.name}.lock")
    try:
        create_private_file(path)
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error:
            connection.close()
            raise
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise JournalError(
                f"another process works with {journal}. Wait for its end, or stop it; `rivya batch status` still works"
            ) from None
        raise JournalError(f"{journal} cannot be opened: {path.name} beside it cannot be written: {error}") from None
    except OSError as error:
        raise JournalError(
            f"{journal} cannot be opened: {path.name} beside it cannot be written: {error.strerror or error}"
        ) from None
    return connection


def open_journal(path: Path, batch_id: str | None, now: float) -> sqlite3.Connection:
    """Opens the file and creates its tables if it is new. Commits survive a power cut."""
    try:
        create_private_file(path.resolve())
        connection = sqlite3.connect(path.resolve(), isolation_level=None, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"{path} cannot be opened: {error}") from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        create_tables(connection, batch_id or path.stem, now)
        check_version(connection, path)
        known = select_batch_id(connection)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise JournalError(f"{path} is no journal of a batch, or cannot be written: {error}") from None
        raise
    if batch_id is not None and known != batch_id:
        connection.close()
        raise ConfigurationError(f"{path} is the journal of the batch {known!r}. Choose another file for {batch_id!r}")
    return connection


def _journal_error(path: Path, error: sqlite3.Error) -> JournalError:
    if isinstance(error, WriterClosed):
        return JournalError(f"the journal {path} is closed. Open the batch again")
    if isinstance(error, CommitInterrupted):
        return JournalError(f"the journal {path} was not written to the end. Run the batch again")
    return JournalError(
        f"the journal {path} cannot be read or written: {error}. Nothing more is bought until it can. Free disk space, "
        "or fix the cause, and run the batch again: it resumes where it was"
    )


def _is_local(service: str) -> bool:
    return is_loopback_host(urlsplit(service).hostname or "")


def _until(cancelled: threading.Event, rows: Iterable[T]) -> Iterator[T]:
    for row in rows:
        if cancelled.is_set():
            raise InterruptedError
        yield row
