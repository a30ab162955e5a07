"""One process per journal: a lock that goes with the process, however it ends."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .._core.errors import JournalError


class Lock:
    """Held from its making until `release`, by way of a file beside the journal. JournalError if another has it.

    SQLite's own lock is used since it is right on every system; the journal itself stays open to readers.
    """

    def __init__(self, journal: Path) -> None:
        at = journal.resolve()  # one file has one lock, by whatever links it is reached
        try:
            self._connection = sqlite3.connect(
                at.with_name(f"{at.name}.lock"), timeout=0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise _no_lock(journal, error) from None
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            self._connection.close()
            raise _no_lock(journal, error) from None

    def release(self) -> None:
        """Let others have it."""
        self._connection.close()


def _no_lock(journal: Path, error: sqlite3.Error) -> JournalError:
    if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
        return JournalError(
            f"another process works with {journal}: wait for its end, or stop it; `rivya batch status` may look on"
        )
    return JournalError(f"{journal} cannot be opened, since {journal.name}.lock beside it cannot be written: {error}")
