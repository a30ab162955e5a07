"""One HTML page of a batch."""

from __future__ import annotations

from pathlib import Path


def write_report(journal: Path, page: Path) -> None:
    """Write the page of this journal."""
    from ..reading import read_runs

    read_runs(journal)
    raise NotImplementedError(page)
