"""Reading a journal without locking it, also while another process runs the batch. Blocks."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import attrs

from .._core.errors import JournalError
from .._core.types.generations import Amount
from .._jobs.transitions import JobState, is_open
from .row import RowRecord, RunRecord
from .schema import CREDITS, LATEST_CREDITS, SELECT_ROWS, check_version, parse_record, select_batch_id

RATE_WINDOW: Final = 120.0
"""Seconds of the past from which the rate is computed."""

MAX_REASONS: Final = 20
"""Most reasons of failure in a summary."""


@attrs.frozen
class FailureReason:
    """A state, error code and error type of failed or dead rows, one of their messages, and the number of rows."""

    state: JobState
    error_code: str | None
    error_type: str | None
    message: str
    rows: int

    @property
    def name(self) -> str:
        """The error code, or else the error type."""
        return self.error_code or self.error_type or "unknown"


@attrs.frozen(kw_only=True)
class Summary:
    """The progress of a batch. `spent` is the credits of ended jobs in all runs, `reserved` of open ones.

    `bought_earlier` is the credits of jobs that the service repeated, as they had been bought without this journal:
    they are in neither. `runs` are in order. `rate` is jobs ended per second, or None without a current run or if no
    job ended lately.
    """

    batch_id: str
    counts: Counter[JobState]
    spent: Amount
    reserved: Amount
    bought_earlier: Amount
    reasons: tuple[FailureReason, ...]
    runs: tuple[RunRecord, ...]
    rate: float | None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.counts.total()

    @property
    def service(self) -> str | None:
        """The origin of the service of the latest run."""
        return self.runs[-1].service if self.runs else None

    @property
    def open(self) -> int:
        """The number of rows that are planned or in progress."""
        return sum(count for state, count in self.counts.items() if is_open(state, downloads=False))

    @property
    def seconds_left(self) -> float | None:
        """The remaining seconds at the current rate, or None without one."""
        return None if self.rate is None else self.open / self.rate


def read_records(path: Path) -> Generator[RowRecord]:
    """Yields every row as of one moment, in the order of the manifest. Raises `JournalError`.

    One row is in memory at a time. A caller that stops early closes the generator in the same thread.
    """
    with _open_read_only(path) as connection:
        batch_id = select_batch_id(connection)
        for _, *values in connection.execute(f"{SELECT_ROWS} ORDER BY place"):
            yield parse_record(values, batch_id)


def read_summary(path: Path, now: float) -> Summary:
    """Returns the progress of the batch. Raises `JournalError`."""
    with _open_read_only(path) as connection:
        batch_id = select_batch_id(connection)
        totals = connection.execute(
            "SELECT state, count(*), sum(CASE WHEN replayed THEN earlier_credits "
            f"WHEN final_credits IS NULL THEN 0 ELSE {CREDITS} END), "
            f"sum(CASE WHEN replayed OR final_credits IS NOT NULL THEN 0 ELSE {CREDITS} END), "
            f"sum(CASE WHEN replayed THEN {LATEST_CREDITS} ELSE 0 END) FROM rows GROUP BY state"
        ).fetchall()
        reasons = connection.execute(
            "SELECT state, error_code, error_type, min(error), count(*) FROM rows WHERE state IN (?, ?) "
            "GROUP BY state, error_code, error_type ORDER BY count(*) DESC LIMIT ?",
            [JobState.FAILED, JobState.DEAD, MAX_REASONS],
        ).fetchall()
        runs = tuple(
            RunRecord(number=number, started_at=start, ended_at=end, service=service)
            for number, start, end, service in connection.execute(
                "SELECT number, started_at, ended_at, service FROM runs ORDER BY number"
            )
        )
        since = max([now - RATE_WINDOW, *(run.started_at for run in runs[-1:])])
        (ended,) = connection.execute("SELECT count(*) FROM rows WHERE ended_at > ?", [since]).fetchone()
    is_running = bool(runs) and runs[-1].ended_at is None
    return Summary(
        batch_id=batch_id,
        counts=Counter({JobState(state): count for state, count, *_ in totals}),
        spent=sum(spent for _, _, spent, _, _ in totals),
        reserved=sum(reserved for _, _, _, reserved, _ in totals),
        bought_earlier=sum(earlier for *_, earlier in totals),
        reasons=tuple(
            FailureReason(JobState(state), code, kind, text or "", count) for state, code, kind, text, count in reasons
        ),
        runs=runs,
        rate=ended / max(now - since, 1.0) if is_running and ended else None,
    )


def require_journal(path: Path) -> Path:
    """Returns the path. Raises `JournalError` if it is not a file."""
    if not path.is_file():
        raise JournalError(f"there is no journal {path}")
    return path


@contextmanager
def _open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    require_journal(path)
    try:
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(closing(_connect(path, "mode=rw")))
                check_version(connection, path)
            except sqlite3.OperationalError:  # SQLite needs to write beside a journal, even to read it
                connection = stack.enter_context(closing(_connect_unwritable(path, stack)))
                check_version(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise JournalError(f"{path} is no journal of a batch, or cannot be read: {error}") from None
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror or error}") from None


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect_unwritable(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """Opens a journal in a folder without write permission: a copy of it if there are changes beside it."""
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        return _connect(path, "mode=ro&immutable=1")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for each in (path, log):
        shutil.copyfile(each, folder / each.name)
    return _connect(folder / path.name, "mode=rw")
