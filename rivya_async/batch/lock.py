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
        self._connection = sqlite3.connect(
            journal.with_name(f"{journal.name}.lock"), timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            self._connection.close()
            raise JournalError(
                f"another process works with {journal}: wait for its end, or stop it; `rivya batch status` may look on"
            ) from None

    def release(self) -> None:
        """Let others have it."""
        self._connection.close()
